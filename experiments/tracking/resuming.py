"""Which earlier run a command goes on with: in that run itself where this is clean, else in a new one linked to it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import UserError
from experiments.tracking import history, liveness
from experiments.tracking.journal import FILE_NAME, damage, read
from experiments.tracking.liveness import RunLock
from experiments.tracking.masking import for_terminal

ENDING = 15.0  # seconds that a run that has ended may take to leave
LOOKS = 1.0  # seconds between two looks at a run of another machine


@dataclass(frozen=True)
class Choice:
    """What `choose` found.

    Attributes:
        origin: folder of the run to go on with; None: begin.
        lock: of that run, held: its own journal goes on. None: a new run does, linked to it.
        reason: why there is nothing to go on with, or why the run itself cannot go on; "" where it does.
    """

    origin: Path | None = None
    lock: RunLock | None = None
    reason: str = ""


def choose(earlier: Sequence[Path]) -> Choice:
    """The newest of the runs with these settings that left a checkpoint; where none did, the newest one.

    Args:
        earlier: folders of the runs with these settings, oldest first.

    Raises:
        UserError: It still runs.
    """
    found: Path | None = None
    for folder in reversed(earlier):
        if liveness.run_state(folder) == "empty":
            continue
        _refuse_living(folder)
        end = history.end_of(folder)
        if end is not None and end["status"] == "COMPLETED":
            if found is None:
                return Choice(reason=f"the newest run with these settings, {folder.name}, is finished")
            break
        found = found or folder
        if _left_checkpoint(folder):
            found = folder
            break
    if found is None:
        return Choice(reason="no run with these settings was interrupted")
    if reason := _obstacle(found):
        return Choice(found, reason=reason)
    lock = RunLock(found)
    if not lock.acquire(ENDING if history.end_of(found) else 1.0):
        raise _living(found)
    return Choice(found, lock)


def _refuse_living(folder: Path) -> None:
    """Raise where a run lives; one of another machine that nobody has locked is watched until it counts as dead."""
    state = liveness.run_state(folder)
    if state == "running":
        raise _living(folder)
    if state != "elsewhere":
        return
    owner, _ = liveness.ownership(folder)
    sign, host = liveness.last_sign(folder), (owner or {}).get("host")
    while (left := sign + liveness.SILENT - time.time()) > 0:
        line = f"run {folder.name} of {host} has no end; it counts as dead in {left:.0f} s"
        print(for_terminal(line), file=sys.stderr, flush=True)
        deadline = time.time() + left
        while time.time() < deadline:
            if liveness.last_sign(folder) > sign:
                raise _living(folder)
            time.sleep(min(LOOKS, max(deadline - time.time(), 0.0)))


def _living(folder: Path) -> UserError:
    owner, _ = liveness.ownership(folder)
    who = f"process {owner.get('pid')} on {owner.get('host')}" if owner else "another process"
    return UserError(
        f"resume=True: run {folder.name} with these settings still runs ({who}); "
        "wait for its end, or stop it, and give the command again"
    )


def _left_checkpoint(folder: Path) -> bool:
    for record in read(folder, metrics=False):
        if record["kind"] == "checkpoint" and (folder / record["path"]).is_file():
            return True
    return False


def _obstacle(folder: Path) -> str:
    """What keeps a run from going on in its own journal; "" if nothing does."""
    for path in (folder, folder / FILE_NAME):
        if not os.access(path, os.W_OK):
            return f"{path} cannot be written to"
    try:
        found = damage(folder)
    except OSError as error:
        return f"{folder / FILE_NAME} cannot be read ({error.strerror or error})"
    return f"{folder / FILE_NAME} is damaged: {found}" if found else ""
