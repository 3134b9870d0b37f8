"""The folder of the server's socket: new, with a name that cannot be guessed, where no other user can replace it.

A folder with a name known beforehand could be made by another user first, in a place such as /tmp where all may write.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOCKET_NAME = "mongodb-27017.sock"  # the name mongod gives to the socket it always makes besides the one it is given
PREFIX = "ostinato-"
PATH_LIMIT = 103 if sys.platform == "darwin" else 107  # bytes of a Unix socket's path, its final zero not counted
UNUSABLE = set(",:[]")  # mongod takes a path apart at a comma, and closes connections to one with the others


def new_socket(directory: Path) -> tuple[Path | None, list[str]]:
    """A path for a socket in a new folder that only its owner can enter.

    Args:
        directory: Of the server, the last place to be tried; before it come XDG_RUNTIME_DIR, TMPDIR, /tmp and /var/tmp.

    Returns:
        The path, which nothing lies at, or None; and why each place before it would not do.
    """
    reasons: list[str] = []
    for place in _places(directory):
        reason = _unfit(place)
        if reason is None:
            try:
                return _make(place), reasons
            except OSError as error:
                reason = error.strerror or str(error)
        reasons.append(f"{place}: {reason}")
    return None, reasons


def is_private(folder: Path) -> bool:
    """Whether `folder` is a directory, no link to one, that belongs to this user and is closed to all others."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def take_over(path: Path) -> bool:
    """Make room for a new socket where a server that has died had its own, so that its address stays the same.

    Returns:
        Whether a server may listen there. Only this user can have made the folder, and nothing listens.
    """
    if not _is_ours(path) or _exposed(os.path.realpath(path.parent.parent)) is not None:
        return False
    _unlink(path)
    return not os.path.lexists(path)


def remove_socket(path: Path) -> None:
    """Remove a socket that nothing listens at any more, and its folder if it is one of ours and holds nothing else."""
    if _is_ours(path):
        _unlink(path)
        with contextlib.suppress(OSError):  # not empty: another file lies there
            path.parent.rmdir()


def _is_ours(path: Path) -> bool:
    return path.name == SOCKET_NAME and path.parent.name.startswith(PREFIX) and is_private(path.parent)


def _unlink(path: Path) -> None:
    """Remove the socket at `path` unless something listens there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except OSError:
        pass


def _places(directory: Path) -> Iterator[str]:
    given = [os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp", "/var/tmp", directory]
    yield from dict.fromkeys(os.path.realpath(place) for place in given if place)


def _unfit(place: str) -> str | None:
    """Why no socket can lie in a folder in `place`, as far as is known without trying."""
    length = len(os.fsencode(place)) + len(f"/{PREFIX}/{SOCKET_NAME}") + 8  # letters that `mkdtemp` adds
    if length > PATH_LIMIT:
        return f"a socket's path there would have {length} bytes, of {PATH_LIMIT} at most"
    if UNUSABLE & set(place):
        return f"mongod cannot use a path with any of {' '.join(sorted(UNUSABLE))}"
    try:
        place.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return _exposed(place)


def _exposed(place: str) -> str | None:
    """Who else could rename what lies in `place`, a path without links: the owner of a folder, or all who may write."""
    for folder in (Path(place), *Path(place).parents):
        try:
            found = folder.stat()
        except OSError as error:
            return error.strerror
        if found.st_uid not in (*_root(), os.getuid()):
            return f"{folder} belongs to another user"
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
            return f"others can write to {folder}"
    return None


def _root() -> list[int]:
    """The numbers under which root's files appear: in a container that does not map it, the one for all unmapped."""
    try:
        mapped = [line.split()[0] for line in Path("/proc/self/uid_map").read_text().splitlines()]
        if "0" not in mapped:
            return [0, int(Path("/proc/sys/kernel/overflowuid").read_text())]
    except (OSError, ValueError, IndexError):
        pass
    return [0]


def _make(place: str) -> Path:
    """Make the folder and try whether the file system takes a socket.

    Raises:
        OSError: It does not, or nothing can be made there.
    """
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place)) / SOCKET_NAME
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(str(path))
        path.unlink()
    except OSError:
        remove_socket(path)
        raise
    return path
