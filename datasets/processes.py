"""Which process is meant, however host name and clock change: the kernel's boot, and the ticks after it.

A process number by itself proves nothing, since numbers are used again. The time at which a process started does, but
as a clock shows it that time moves when the clock is set. Linux also counts it in ticks since the boot, and gives every
boot a number; both are fixed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

TOLERANCE = 1.0  # seconds between two readings of a start time by the clock


@dataclass(frozen=True)
class Identity:
    """One process and no other.

    Attributes:
        pid: Its number.
        pid_started: Unix time of its start, by the clock when it was looked at; None where it was not recorded.
        boot: `this_boot()` when it was looked at; None where the system has none, and in old records.
        ticks: Clock ticks from that boot to its start; None likewise.
    """

    pid: int
    pid_started: float | None = None
    boot: str | None = None
    ticks: int | None = None


@cache
def this_boot() -> str | None:
    """The running kernel's boot and the space in which process numbers count; None where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def identify(pid: int) -> Identity | None:
    """The process that has this number now; None when none has, or one that has ended already."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        ticks = _ticks(pid)
        return Identity(pid, process.create_time(), this_boot() if ticks is not None else None, ticks)
    except (psutil.Error, ValueError, OverflowError):
        return None


def recorded(record: Mapping[str, Any]) -> Identity | None:
    """The process that a record names by the fields of `Identity`, only the first of which it must have."""
    fields = {"pid": int, "pid_started": (int, float), "boot": str, "ticks": int}
    values = {name: record[name] for name, kind in fields.items() if isinstance(record.get(name), kind)}
    return Identity(**values) if "pid" in values else None


def is_running(identity: Identity) -> bool:
    """Whether the very process still runs; a zombie does not."""
    now = identify(identity.pid)
    if now is None:
        return False
    if identity.boot is not None and now.boot is not None:
        return (now.boot, now.ticks) == (identity.boot, identity.ticks)
    return identity.pid_started is None or abs(now.pid_started - identity.pid_started) < TOLERANCE


def end(child: subprocess.Popen, seconds: float) -> None:
    """Ask a child of this process to end, and kill it where it has not after some seconds."""
    child.terminate()  # nothing where it has ended
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[19])  # field 22; the name before it may hold spaces and brackets
    except (OSError, IndexError, ValueError):
        return None
