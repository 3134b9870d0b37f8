"""Whether a run still lives: by a lock that the kernel drops with its process, and by what its journal says.

A living run holds an exclusive lock on `<run>/.lock`; also on a shared file system, where that passes locks on. The
journal names host and process, for file systems without locks, and for runs of other machines there is the age of the
last sign of life.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil

from experiments.tracking.journal import FILE_NAME, Record, read

LOCK_NAME = ".lock"
_NO_LINK = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # in a folder of somebody else's; a pipe would be waited for
SILENT = 120.0  # seconds without a record after which a run of another machine is taken for dead

_held: set[int] = set()  # descriptors of the locks of this process


def _let_go_in_child() -> None:
    """A forked worker that outlives its parent must not keep the run locked."""
    for file in _held:
        with contextlib.suppress(OSError):
            os.close(file)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


class RunLock:
    """The lock on a run's directory; held until `release` or the end of the process, however that comes."""

    def __init__(self, run_dir: Path):
        self.path = run_dir / LOCK_NAME
        self._file = -1

    def acquire(self, seconds: float = 1.0) -> bool:
        """Take the lock, for which others are given some time; False while another process has it.

        A file system that knows no locks lets everybody have it.

        Raises:
            OSError: the lock file cannot be made.
        """
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600)
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                os.close(file)
                return False
            except OSError:
                pass
            self._file = file
            _held.add(file)
            return True

    def release(self) -> None:
        """Let the lock go."""
        if self._file in _held:
            _held.discard(self._file)
            os.close(self._file)
        self._file = -1


def is_locked(run_dir: Path) -> bool:
    """Whether a process holds the lock of a run."""
    try:
        file = os.open(run_dir / LOCK_NAME, os.O_RDONLY | _NO_LINK)
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


def standing(run_dir: Path) -> str:
    """How a run stands: `ended`, `running`, `stale` (its process is gone), `elsewhere` or `empty`.

    `elsewhere` is a run of another machine that has neither an end nor a lock that can be seen from here.
    """
    owner, ended = ownership(run_dir)
    if owner is None:
        return "empty"
    if ended:
        return "ended"
    if is_locked(run_dir):
        return "running"
    if owner.get("host") != socket.gethostname():
        return "elsewhere"
    return "running" if _lives(owner) else "stale"


def ownership(run_dir: Path) -> tuple[dict[str, Any] | None, bool]:
    """Who wrote a run last (`host`, `pid`, `pid_started`; None before its start), and whether it has ended."""
    owner: dict[str, Any] | None = None
    ended = False
    for record in read(run_dir, metrics=False):
        if record["kind"] == "start":
            owner, ended = record["document"].get("ostinato") or {}, False
        elif record["kind"] == "segment":
            owner, ended = record if record.get("pid") else owner, False
        elif record["kind"] == "end":
            ended = True
    return owner, ended


def last_sign(run_dir: Path) -> float:
    """Unix time at which the journal was written last."""
    return (run_dir / FILE_NAME).stat().st_mtime


def me() -> dict[str, Any]:
    """This process, as the journal names it."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": psutil.Process().create_time()}


def _lives(owner: Record) -> bool:
    try:
        process = psutil.Process(int(owner["pid"]))
        started = owner.get("pid_started")
        same = started is None or abs(process.create_time() - started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
