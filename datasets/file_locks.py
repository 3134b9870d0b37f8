"""Locks of the kernel on files: held by one process at a time, and gone with it however it ends.

A lock belongs to the open file, which a forked process shares. So it is undone before the file is closed, and forked
processes close their copies: a worker that outlives its parent keeps nothing locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

_PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # in another user's folder; a pipe would be waited for
_open: set[int] = set()  # lock files of this process


def _close_in_child() -> None:
    for file in _open:
        with contextlib.suppress(OSError):
            os.close(file)
    _open.clear()


os.register_at_fork(after_in_child=_close_in_child)


def open_lock(path: Path, make: bool = True) -> int:
    """Open a lock file for this process, and not for those it forks.

    Args:
        path: Of the file.
        make: Whether it is made when missing; with mode 0600, since whoever can open it can hold the lock.

    Raises:
        OSError: It cannot be made or opened.
    """
    file = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0) | _PLAIN, 0o600)
    if os.fstat(file).st_mode & 0o077:  # of an earlier version
        with contextlib.suppress(OSError):
            os.fchmod(file, 0o600)
    _open.add(file)
    return file


def open_folder_lock(folder: Path) -> int:
    """Open a folder for a lock on itself, for this process and not for those it forks.

    What cleans up temporary files (systemd-tmpfiles) leaves a locked folder alone, however old what is in it.

    Raises:
        OSError: It is no folder, or cannot be opened.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _PLAIN)
    _open.add(file)
    return file


def close_lock(file: int) -> None:
    """Let the lock on a file or folder go that was opened here in this process, and close it; otherwise do nothing."""
    if file in _open:
        _open.discard(file)
        with contextlib.suppress(OSError):  # a file system that knows no locks
            fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def try_exclusive(file: int) -> bool:
    """Take the lock on an open file for this process alone; False when another has a share of it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def wait_exclusive(file: int, seconds: float) -> bool:
    """`try_exclusive`, again and again for at most `seconds`; a file system without locks grants it to everyone."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
        except OSError:
            return True
        time.sleep(0.02)


def is_held(path: Path) -> bool:
    """Whether a process holds an exclusive lock on `path`. For a moment this takes a share of the lock itself."""
    try:
        file = os.open(path, os.O_RDONLY | _PLAIN)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False
