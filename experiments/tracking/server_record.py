"""`server.json`: which server runs, where it listens, and the version of the data when none does.

It is read for what is known from nowhere else. Whether a server runs is asked of the kernel (`data_holder`).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass


@dataclass(frozen=True)
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
    """Replace `server.json` (mode 0600).

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    write_private(directory / "server.json", json.dumps(asdict(state), indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner can read.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
