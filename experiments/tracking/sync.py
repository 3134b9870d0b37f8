"""Send what never reached a database, and close the runs of this machine whose process is gone.

`<home>/pending/` holds a pointer to every journal that is not fully sent. Sending is idempotent: doing it twice, or
while the run itself is still sending, changes nothing.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo.database import Database

from datasets.file_locks import close_lock, open_lock, wait_exclusive
from datasets.progress import progress
from experiments.errors import UserError
from experiments.tracking.apply import RunCopy
from experiments.tracking.faults import explained, is_outage
from experiments.tracking.home import pending_directory
from experiments.tracking.journal import FILE_NAME, Journal, read
from experiments.tracking.liveness import last_activity, lock_run, run_state
from experiments.tracking.masking import mask

log = logging.getLogger("ostinato.tracking")

ABANDONED = 3600.0  # seconds after which a journal without a single record is no run any more
NAMED = 10  # of the files left out
RECORDS = 5000  # applied between two writings of the gathered metrics


@dataclass
class Report:
    """What a `sync` did, by keys of runs.

    Attributes:
        sent: number of each run -> key, for those that are complete in the database now.
        running: runs that are still running; what they have written so far is sent.
        elsewhere: runs of other machines without an end; they are sent but not closed.
        interrupted: runs whose process was gone without an end; they are closed as INTERRUPTED.
        gone: run directories that exist no more; their pointers are removed.
        failed: key -> reason.
        rejected: number of records that a database refused for their content.
        left_out: key -> what its journal names that is no regular file inside of the run's folder.
    """

    sent: dict[str, Any] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    rejected: int = 0
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        complete = ", ".join(str(number) for number in self.sent.values())
        parts = [f"{len(self.sent)} run(s) complete in the database: {complete}" if complete else "nothing to send"]
        for label, keys in (
            ("closed as INTERRUPTED", self.interrupted),
            ("still running", self.running),
            ("not ended, on another machine", self.elsewhere),
            ("deleted", self.gone),
            ("failed", [f"{key} ({why})" for key, why in self.failed.items()]),
        ):
            if keys:
                parts.append(f"{label}: {', '.join(keys)}")
        if self.rejected:
            parts.append(f"{self.rejected} record(s) set aside, see rejected.jsonl in the run directories")
        for key, names in self.left_out.items():
            shown = ", ".join(repr(name) for name in names[:NAMED]) + (", …" if len(names) > NAMED else "")
            parts.append(f"{key}: {len(names)} skipped that are not regular files inside its folder: {shown}")
        return "; ".join(parts)


def sync(
    database: Database,
    runs: Iterable[Path | str] = (),
    *,
    max_points: int = 5000,
    upload_limit_mb: float = 64,
    show: bool = False,
) -> Report:
    """Send every pending run of this user, and the given run directories, to `database`.

    Args:
        runs: further run directories, or folders that hold run directories.
        show: show a progress bar.

    Raises:
        UserError: the database does not answer; nothing is lost, the same command continues later.
    """
    report = Report()
    close_stale(runs, report)
    pending = list(_pending(runs, report))
    with progress("sending", len(pending), "runs", show=show) as advance:
        for pointer, run_dir in pending:
            with _alone(pointer) as alone:
                if alone:
                    _send_pending(pointer, run_dir, database, report, max_points, upload_limit_mb)
                else:
                    report.failed[run_dir.name] = "another sync is sending it"
            advance()
    return report


def _send_pending(
    pointer: Path | None, run_dir: Path, database: Database, report: Report, max_points: int, upload_limit_mb: float
) -> None:
    """Send one run, and remove its pointer when it is complete in the database."""
    try:
        if pointer is not None and run_state(run_dir) == "empty":
            if time.time() - last_activity(run_dir) > ABANDONED:
                pointer.unlink(missing_ok=True)
            return
        send(run_dir, database, report, max_points, upload_limit_mb, own=pointer is not None)
    except Exception as error:
        if is_outage(error):
            raise UserError(f"{explained(error)}. Nothing is lost: run sync again.") from error
        report.failed[run_dir.name] = mask(f"{type(error).__name__}: {error}")[:300]
        return
    if run_dir.name in report.sent and pointer is not None:
        pointer.unlink(missing_ok=True)


def send(
    run_dir: Path,
    database: Database,
    report: Report,
    max_points: int = 5000,
    upload_limit_mb: float = 64,
    own: bool = False,
) -> None:
    """Send one run's journal, compare what the database holds with it, and note in `report` the state of the run.

    Args:
        own: the run is of this user and machine; see `RunCopy`.
    """
    copy = RunCopy(run_dir, max_points, upload_limit_mb, own)
    copy.attach(database)
    rejected = copy.rejected
    for count, record in enumerate(read(run_dir), 1):
        copy.take(record)
        if count % RECORDS == 0:
            copy.flush(everything=False)
    copy.verify()
    report.rejected += copy.rejected - rejected
    if copy.left_out:
        report.left_out[run_dir.name] = sorted(copy.left_out)
    if copy.done:
        report.sent[run_dir.name] = copy.run_id


def close_stale(runs: Iterable[Path | str] = (), report: Report | None = None) -> list[str]:
    """Write the end of every pending run of this machine whose process is gone: INTERRUPTED, at its last record."""
    report = report or Report()
    for pointer, run_dir in _pending(runs, Report()):
        with _alone(pointer) as alone:
            try:
                state = run_state(run_dir) if alone else "busy"
                if state == "running":
                    report.running.append(run_dir.name)
                elif state == "elsewhere":
                    report.elsewhere.append(run_dir.name)
                elif state == "stale" and _interrupt(run_dir, own=pointer is not None):
                    report.interrupted.append(run_dir.name)
            except Exception as error:  # of a journal that is not as ours are, or a folder that is not ours
                report.failed[run_dir.name] = mask(f"{type(error).__name__}: {error}")[:300]
    return report.interrupted


def sweep(connect: Callable[[], Database]) -> threading.Thread:
    """Close and send in the background what earlier runs of this machine left behind; called when a run starts.

    Runs that are still going are left to themselves.
    """

    def work() -> None:
        try:
            stale = close_stale()
            if stale:
                database = connect()
                for key in stale:
                    pointer = pending_directory() / f"{key}.json"
                    report, run_dir = Report(), _target(pointer)
                    with _alone(pointer) as alone:
                        if alone and run_dir is not None:
                            send(run_dir, database, report, own=True)
                    if report.sent:
                        pointer.unlink(missing_ok=True)
                database.client.close()
        except Exception as error:
            log.info("earlier runs were not sent (%s); sync sends them later", explained(error))

    thread = threading.Thread(target=work, name="ostinato-sweep", daemon=True)
    thread.start()
    return thread


def _interrupt(run_dir: Path, own: bool) -> bool:
    """Close a stale run, unless another process resumes it at this moment."""
    lock = lock_run(run_dir, seconds=0)
    if lock is None:
        return False
    try:
        if run_state(run_dir) != "ended":
            journal = Journal.open(run_dir, pending=own)
            close_interrupted(journal)
            journal.close()
    finally:
        close_lock(lock)
    return True


def close_interrupted(journal: Journal) -> None:
    """Write the end of a run whose process is gone: INTERRUPTED, at its last record."""
    last = max((record["time"] for record in read(journal.directory)), default=0.0)
    journal.append("end", time_=last, status="INTERRUPTED", stop_time=last, result=None, fail_trace=None)


def _pending(runs: Iterable[Path | str], report: Report) -> Iterator[tuple[Path | None, Path]]:
    """Pointer and directory of each run to look at, oldest first; pointers to nothing are removed."""
    directory = pending_directory()
    found: dict[Path, Path | None] = {}
    for pointer in sorted(directory.glob("*.json")):
        try:
            run_dir = _target(pointer)
        except OSError as error:  # a disk that fails, or a folder that may not be entered just now
            report.failed[pointer.stem] = str(error)
            continue
        if run_dir is None:
            report.gone.append(pointer.stem)
            pointer.unlink(missing_ok=True)
        else:
            found[run_dir] = pointer
    for given in runs:
        for run_dir in _journals(Path(given).absolute()):
            found.setdefault(run_dir, None)
    for run_dir in sorted(found, key=lambda path: path.name):
        yield found[run_dir], run_dir


def _target(pointer: Path) -> Path | None:
    """The run that a pointer leads to; None where there is none.

    Raises:
        OSError: Whether there is one cannot be seen.
    """
    try:
        run_dir = Path(json.loads(pointer.read_text(encoding="utf-8"))["run"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return run_dir if (run_dir / FILE_NAME).is_file() else None


def _journals(path: Path) -> Sequence[Path]:
    if os.path.lexists(path / FILE_NAME):
        return [path]
    return sorted(journal.parent for journal in path.glob(f"*/{FILE_NAME}"))


@contextmanager
def _alone(pointer: Path | None) -> Iterator[bool]:
    """Whether no other `sync` works on this run at the moment."""
    if pointer is None:
        yield True
        return
    try:
        file = open_lock(pointer, make=False)
    except FileNotFoundError:  # just sent by another one
        yield False
        return
    try:
        yield wait_exclusive(file, 0.0)
    finally:
        close_lock(file)
