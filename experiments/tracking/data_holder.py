"""Which process uses a server's data: the kernel's lock on `data/mongod.lock` decides, never a record of ours.

A running mongod keeps that file locked and its own number in it. So a server is found, joined and stopped also when
nothing about it was recorded, or when the host's name or clock has changed since. `server.json` is read for what is
known from nowhere else: where it listens, and the version of the data when none runs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import psutil
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from datasets.file_locks import is_held
from datasets.processes import Identity, identify, is_running, recorded
from datasets.store_files import replace_file
from experiments.tracking import endpoint
from experiments.tracking.endpoint import Endpoint

LOCK = "mongod.lock"
DYING_SECONDS = 3.0  # for which a lock may be held by a process that is being taken down, and shows nothing of itself


@checked_dataclass(frozen=True)
class State:
    """A server; `pid` is None after an orderly stop, and `boot` and `ticks` are missing in old records."""

    host: str
    version: str
    pid: int | None = None
    pid_started: float | None = None
    socket: str | None = None
    port: int | None = None
    boot: str | None = None
    ticks: int | None = None


_STATE = TypeAdapter(State)


def read_state(directory: Path) -> State | None:
    """The content of `server.json`; None when it is missing or not readable as such."""
    try:
        return _STATE.validate_json((directory / "server.json").read_bytes(), strict=True)
    except (OSError, ValueError):
        return None


def write_state(directory: Path, state: State) -> None:
    """Replace `server.json`, which only its owner can read.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    replace_file(directory / "server.json", _STATE.dump_json(state, indent=1) + b"\n", 0o600)


@dataclass(frozen=True)
class Holder:
    """A process of this user that has the data open; `endpoint` is None when the suite did not start it."""

    identity: Identity
    endpoint: Endpoint | None

    @property
    def pid(self) -> int:
        return self.identity.pid

    def state(self, version: str) -> State:
        """What is recorded of it."""
        where = self.endpoint or Endpoint()
        return State(socket.gethostname(), version, socket=where.socket, port=where.port, **asdict(self.identity))


def find(directory: Path, start_locked: bool = False) -> Holder | None:
    """The process of this user that uses `directory/data`.

    Args:
        directory: Of the server.
        start_locked: Whether the caller holds `start.lock`. Then no server starts meanwhile, and a lock that can be had
            tells at once that there is none. Otherwise all processes of the user are looked at.
    """
    data = directory / "data"
    if not data.is_dir():
        return None
    deadline = time.monotonic() + DYING_SECONDS
    while True:
        for pid in _named(directory):
            if holder := _holder(pid, data):
                return holder
        if start_locked and (data / LOCK).is_file() and not is_held(data / LOCK):
            return None
        holder = next(filter(None, (_holder(pid, data, named=False) for pid in psutil.pids())), None)
        if holder or not start_locked or not is_held(data / LOCK) or time.monotonic() > deadline:
            return holder
        time.sleep(0.02)


def is_data_locked(directory: Path) -> bool:
    """Whether anybody uses the data, also one whose process cannot be seen from here. Call it under `start.lock`."""
    return is_held(directory / "data" / LOCK)


def in_use(directory: Path) -> str:
    """The error for data in use by a server that cannot be joined, with all that is known of it."""
    data, state = directory / "data", read_state(directory)
    who = f"another MongoDB, not seen from here (last on the host {state.host})" if state else "another MongoDB"
    for pid in _named(directory):
        with contextlib.suppress(psutil.Error, ValueError, OverflowError):
            process = psutil.Process(pid)
            if _is_given(process, process.cmdline(), data) or _has_open(process, data):
                who = f"another MongoDB (process {pid} of the user {process.username()})"
    return (
        f"{data} is used by {who}. End it, or set OSTINATO_HOME to another directory, or OSTINATO_MONGO_URL to its "
        f"address."
    )


def _named(directory: Path) -> Iterator[int]:
    """Processes that are named as the server: by mongod itself, and in our record."""
    with contextlib.suppress(OSError, ValueError):
        yield int((directory / "data" / LOCK).read_text(encoding="ascii"))
    state = read_state(directory)
    identity = recorded(vars(state)) if state is not None else None
    if identity is not None and is_running(identity):
        yield identity.pid


def _holder(pid: int, data: Path, named: bool = True) -> Holder | None:
    """The process if it is this user's, runs and has the data open."""
    try:
        process = psutil.Process(pid)
        words = process.cmdline()  # none in a process that is being taken down
        if not words or process.uids().real != os.getuid():
            return None
        if not _is_given(process, words, data) and not (named and _has_open(process, data)):
            return None
        identity = identify(pid)
        return Holder(identity, endpoint.parse(words)) if identity else None
    except (psutil.Error, ValueError, OverflowError):
        return None


def _has_open(process: psutil.Process, data: Path) -> bool:
    """Whether the process has mongod's lock file open, whichever path it was given."""
    return os.path.realpath(data / LOCK) in (file.path for file in process.open_files())


def _is_given(process: psutil.Process, words: list[str], data: Path) -> bool:
    """Whether the process was started on the data."""
    given = [following for word, following in pairwise(words) if word == "--dbpath"]
    given += [word.removeprefix("--dbpath=") for word in words if word.startswith("--dbpath=")]
    for path in given:
        with contextlib.suppress(OSError):
            if os.path.samefile(path if os.path.isabs(path) else os.path.join(process.cwd(), path), data):
                return True
    return False
