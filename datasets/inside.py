"""Files of a folder that a file from somebody else names: regular ones inside of the folder, and nothing else.

They are opened without following a link anywhere below the folder, so that no name leads out of it, and without waiting
for a pipe's other end.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

_INSIDE = os.O_CLOEXEC | os.O_NOFOLLOW
_NO_FILE = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)  # a link, a file in place of a folder, a socket


class NotInside(OSError):
    """A name stands for no regular file inside of its folder."""


def open_inside(folder: Path, name: str) -> BinaryIO:
    """Open for reading the file that `name` (relative, with `/`) stands for in a folder.

    Raises:
        NotInside: It leads out of the folder, passes a link, or is no regular file.
        OSError: It is missing or cannot be read.
    """
    path = PurePosixPath(name) if isinstance(name, str) and "\0" not in name else PurePosixPath("..")
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise NotInside(f"{name!r} is not inside of its folder")
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.parts[:-1]:
            there = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _INSIDE, dir_fd=here)
            os.close(here)
            here = there
        file = os.open(path.name, os.O_RDONLY | os.O_NONBLOCK | _INSIDE, dir_fd=here)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise NotInside(f"{name!r} is no regular file inside of its folder") from None
        raise
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise NotInside(f"{name!r} is no regular file")
    return open(file, "rb")


def file_state(path: Path) -> tuple[int, int] | None:
    """What tells one content of a file from the next: time of change and size; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
