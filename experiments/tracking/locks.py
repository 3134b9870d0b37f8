"""Locks of the kernel on files: held by one process at a time, and gone with it however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from experiments.errors import UserError


class LockHeld(UserError):
    """Another process holds a lock."""


def try_exclusive(file: int) -> bool:
    """Take the lock on an open file for this process alone; False when another has a share of it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether a process holds an exclusive lock on `path`. For a moment this takes a share of the lock itself."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


@contextlib.contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold an exclusive lock on `path`, waiting for it no longer than `seconds`.

    Raises:
        LockHeld: Another process holds it.
        UserError: The file cannot be made.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; set OSTINATO_HOME to a directory that can be written to") from error
    try:
        deadline = time.monotonic() + seconds
        while not try_exclusive(file):
            if time.monotonic() > deadline:
                raise LockHeld(f"{path} has been held for {seconds:.0f} s by another process; see: fuser {path}")
            time.sleep(0.02)
        yield
    finally:
        os.close(file)
