"""Which earlier run a command resumes: that run itself where it can be continued, else a new one linked to it.

Which runs of a folder had the same settings is kept in small files, one a fingerprint, with one run key a line.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import UserError
from experiments.tracking import liveness
from experiments.tracking.journal import FILE_NAME, damage, read
from experiments.tracking.masking import for_terminal

DIRECTORY = ".fingerprints"
ENDING = 15.0  # seconds that a run that has ended may take to leave
LOOKS = 1.0  # seconds between two looks at a run of another machine


@dataclass(frozen=True)
class Choice:
    """What `choose` found.

    Attributes:
        origin: folder of the run to continue; None for a fresh start.
        lock: of that run, taken (see `lock_run`), whose journal is continued; None: a new run is linked to it.
        reason: why there is nothing to resume, or why that run cannot be continued itself; "" where it can.
    """

    origin: Path | None = None
    lock: int | None = None
    reason: str = ""


def remember(runs_dir: Path, fingerprint: str, key: str) -> None:
    """Note that the run `key` has these settings."""
    (runs_dir / DIRECTORY).mkdir(exist_ok=True)
    with open(runs_dir / DIRECTORY / fingerprint, "a", encoding="utf-8") as file:
        file.write(f"{key}\n")


def runs_with(runs_dir: Path | str, fingerprint: str) -> list[Path]:
    """Directories of the runs with these settings that are still there, oldest first."""
    try:
        keys = (Path(runs_dir) / DIRECTORY / fingerprint).read_text(encoding="utf-8").split()
    except OSError:
        return []
    runs = [Path(runs_dir).absolute() / key for key in dict.fromkeys(keys)]
    return [run for run in runs if (run / FILE_NAME).is_file()]


def choose(earlier: Sequence[Path]) -> Choice:
    """The newest of the runs with these settings that left a checkpoint; where none did, the newest one.

    Args:
        earlier: folders of the runs with these settings, oldest first.

    Raises:
        UserError: It is still running.
    """
    found: Path | None = None
    for folder in reversed(earlier):
        if liveness.run_state(folder) == "empty":
            continue
        _refuse_running(folder)
        end = liveness.end_of(folder)
        if end is not None and end["status"] == "COMPLETED":
            if found is None:
                return Choice(reason=f"the newest run with the same settings, {folder.name}, is finished")
            break
        found = found or folder
        if _left_checkpoint(folder):
            found = folder
            break
    if found is None:
        return Choice(reason="no run with the same settings was interrupted")
    if reason := _obstacle(found):
        return Choice(found, reason=reason)
    lock = liveness.lock_run(found, ENDING if liveness.end_of(found) else 1.0)
    if lock is None:
        raise _still_running(found)
    return Choice(found, lock)


def _refuse_running(folder: Path) -> None:
    """Raise where a run is running; of another machine, unlocked, it is watched until it is taken for dead."""
    state = liveness.run_state(folder)
    if state == "running":
        raise _still_running(folder)
    if state != "elsewhere":
        return
    owner, _ = liveness.ownership(folder)
    since, host = liveness.last_activity(folder), (owner or {}).get("host")
    while (left := since + liveness.SILENT - time.time()) > 0:
        line = f"run {folder.name} on {host} has not ended; it is taken for dead in {left:.0f} s"
        print(for_terminal(line), file=sys.stderr, flush=True)
        deadline = time.time() + left
        while time.time() < deadline:
            if liveness.last_activity(folder) > since:
                raise _still_running(folder)
            time.sleep(min(LOOKS, max(deadline - time.time(), 0.0)))


def _still_running(folder: Path) -> UserError:
    owner, _ = liveness.ownership(folder)
    who = f"process {owner.get('pid')} on {owner.get('host')}" if owner else "another process"
    return UserError(
        f"resume=True: run {folder.name} with the same settings is still running ({who}); "
        "wait for it to end or stop it, then repeat the command"
    )


def _left_checkpoint(folder: Path) -> bool:
    for record in read(folder, metrics=False):
        if record["kind"] == "checkpoint" and (folder / record["path"]).is_file():
            return True
    return False


def _obstacle(folder: Path) -> str:
    """Why a run cannot be continued in its own journal; "" where it can."""
    for path in (folder, folder / FILE_NAME):
        if not os.access(path, os.W_OK):
            return f"{path} cannot be written to"
    try:
        found = damage(folder)
    except OSError as error:
        return f"{folder / FILE_NAME} cannot be read ({error.strerror or error})"
    return f"{folder / FILE_NAME} is damaged: {found}" if found else ""
