"""Whether a run is still running: by a lock that the kernel drops with its process, and by what its journal says.

A running one holds an exclusive lock on `<run>/.lock`; also on a shared file system, where that passes locks on. The
journal names host and process, for file systems without locks, and for runs of other machines there is the age of the
last record.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets.file_locks import close_lock, is_held, open_lock, wait_exclusive
from datasets.processes import identify, is_running, recorded, this_boot
from experiments.tracking.journal import FILE_NAME, parse, read

LOCK_NAME = ".lock"
TAIL = 256 * 1024  # bytes of a journal in which its end record is looked for
SILENT = 120.0  # seconds without a record after which a run of another machine is taken for dead


def lock_run(run_dir: Path, seconds: float = 1.0) -> int | None:
    """Take the lock on a run, for which others are given some time; None while another process has it.

    A file system without locks grants it to everyone. It is held until `close_lock` or the end of the process, however
    that comes.

    Raises:
        OSError: the lock file cannot be made.
    """
    file = open_lock(run_dir / LOCK_NAME)
    if wait_exclusive(file, seconds):
        return file
    close_lock(file)
    return None


def is_locked(run_dir: Path) -> bool:
    """Whether a process holds the lock of a run."""
    return is_held(run_dir / LOCK_NAME)


def run_state(run_dir: Path) -> str:
    """The state of a run: `ended`, `running`, `stale` (its process is gone), `elsewhere` or `empty`.

    `elsewhere` is a run of another machine that has neither an end nor a lock that can be seen from here.
    """
    owner, ended = ownership(run_dir)
    if owner is None:
        return "empty"
    if ended:
        return "ended"
    if is_locked(run_dir):
        return "running"
    process = recorded(owner)
    here = process is not None and process.boot is not None and process.boot == this_boot()  # hosts can be renamed
    if not here and owner.get("host") != socket.gethostname():
        return "elsewhere"
    return "running" if process is not None and is_running(process) else "stale"


def ownership(run_dir: Path) -> tuple[dict[str, Any] | None, bool]:
    """Who wrote a run last (`host` and the fields of `Identity`; None before its start), and whether it has ended."""
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


def end_of(run_dir: Path) -> dict[str, Any] | None:
    """The end record of a run; None while it runs (again), or when it was killed."""
    with contextlib.suppress(OSError), open(run_dir / FILE_NAME, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - TAIL))
        for line in reversed(file.readlines()):
            record = parse(line)
            if record is not None and record["kind"] in ("start", "segment", "end"):
                return record if record["kind"] == "end" else None
    return None


def last_activity(run_dir: Path) -> float:
    """Unix time at which the journal was written last."""
    return (run_dir / FILE_NAME).stat().st_mtime


def this_process() -> dict[str, Any]:
    """This process, as the journal names it."""
    process = identify(os.getpid())
    return {"host": socket.gethostname(), **(asdict(process) if process else {"pid": os.getpid()})}
