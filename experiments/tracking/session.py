"""One run on the process that keeps its record: its directory, its log, its start, the command itself, its end."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import pdb
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.file_locks import close_lock
from experiments import distributed
from experiments.errors import UserError
from experiments.tracking import lifecycle, liveness, provenance, ranks, resuming
from experiments.tracking.console import Console
from experiments.tracking.journal import Journal, read
from experiments.tracking.location import Location, resolve
from experiments.tracking.masking import for_terminal, mask
from experiments.tracking.observer import JournalObserver, MaskedObserver
from experiments.tracking.run import Recorder, RunHandle
from experiments.tracking.settings import TrackingSettings
from experiments.tracking.sync import close_interrupted, sweep
from experiments.tracking.system import Sampler
from experiments.tracking.uploader import Uploader

NUMBER_SECONDS = 1.5  # longest wait for the run's number at the start
SWEEP_SECONDS = 5.0  # longest wait at the end for what closes earlier runs, which a short run would cut off
DIFF_ARTIFACT = "uncommitted.diff"

log = logging.getLogger("ostinato.tracking")


@dataclass(frozen=True)
class RunPlan:
    """What is decided about a run before anything is made.

    Attributes:
        tracking: where it is recorded, the URL with its secret.
        script: the script that was started.
        fingerprint: of the command and its settings.
        seed: shared by all ranks.
        document: what the run document says besides Sacred's own.
        meta: what its `meta` says besides.
        revision: state of the script's repository; None when unknown.
        resume: continue an earlier run of the same fingerprint.
    """

    tracking: TrackingSettings
    script: Path
    fingerprint: str
    seed: int
    document: Mapping[str, Any]
    meta: Mapping[str, Any]
    revision: provenance.Revision | None
    resume: bool


class Session:
    """Context of a recorded run.

    Raises:
        UserError: `tracking.mongo=required` without a database, the run directory cannot be made, or the run to be
            resumed is still running.
    """

    def __init__(self, plan: RunPlan):
        self._plan = plan
        self._earlier = resuming.runs_with(plan.tracking.runs_dir, plan.fingerprint)
        self._choice = resuming.choose(self._earlier) if plan.resume else resuming.Choice()
        with contextlib.ExitStack() as undo:
            if self._choice.lock is not None:
                undo.callback(close_lock, self._choice.lock)
            self.location: Location = resolve(plan.tracking)
            undo.callback(self.location.release)
            try:
                self.journal, self._lock = self._opened()
                self._sources = provenance.keep_sources(plan.script, self.journal.directory)
                self._console = Console(self.journal.directory, self.masked, plan.tracking.capture)
            except OSError as error:
                raise UserError(
                    f"tracking.runs_dir={plan.tracking.runs_dir}: no run directory can be made there "
                    f"({error.strerror or error}); set it to a folder that can be written to"
                ) from error
            undo.pop_all()
        mask(self.location.url or "", self.journal.secrets)  # remembers the password, to mask it wherever it turns up
        self.recorder = Recorder(self.journal)
        self.handle = RunHandle(
            self.journal.directory,
            plan.seed,
            self.recorder,
            fingerprint=plan.fingerprint,
            origin=self._choice.origin,
            location=self.location,
        )
        self._uploader: Uploader | None = None
        self._sweeping: threading.Thread | None = None
        self._began = time.monotonic()
        self._environment: dict[str, str | None] = {}  # before this run

    @property
    def resumed(self) -> bool:
        """Whether this is an earlier run, not a new one."""
        return self._choice.lock is not None

    def _opened(self) -> tuple[Journal, int | None]:
        """The journal of the resumed or of a new run, and the lock on its directory."""
        if self._choice.lock is not None:
            journal = Journal.open(self._choice.origin)
            if liveness.end_of(journal.directory) is None:
                close_interrupted(journal)
            for trace in ranks.trace_files(journal.directory):  # they are in its log
                trace.unlink()
            return journal, self._choice.lock
        journal = Journal.create(self._plan.tracking.runs_dir)
        lock = liveness.lock_run(journal.directory)
        resuming.remember(journal.directory.parent, self._plan.fingerprint, journal.key)
        return journal, lock

    def __enter__(self) -> Session:
        self._console.__enter__()
        exported = {ranks.RUN_VARIABLE: self.journal.key, ranks.SEED_VARIABLE: str(self._plan.seed)}
        self._environment = {name: os.environ.pop(name, None) for name in exported}
        os.environ.update(exported)
        return self

    def __exit__(self, *_: object) -> None:
        for name, value in self._environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        self._console.__exit__()
        if self._sweeping is not None:
            self._sweeping.join(SWEEP_SECONDS)
        self.journal.close()
        if self._lock is not None:
            close_lock(self._lock)
        self.location.release()

    def masked(self, value: Any) -> Any:
        """A text or nested value without the secrets of this run."""
        return mask(value, self.journal.secrets)

    def note(self, text: str) -> None:
        """Put a text into the run log and nowhere else."""
        self._console.note(text)

    def watch(self, run: Any) -> None:
        """Observe a Sacred run; what other observers it has get the same, without secrets."""
        script, revision = self._plan.script, self._plan.revision
        run.experiment_info = {
            "name": run.experiment_info["name"],
            "base_dir": str(script.parent),
            "mainfile": script.name,
            "sources": [],  # filled in where the document is stored
            "dependencies": provenance.packages(),
            "repositories": [revision.record()] if revision else [],
        }
        run.host_info = provenance.host()
        if run.observers:
            self.recorder.on_info = lambda info: setattr(run, "info", info)
            self.recorder.on_scalar = run.log_scalar
        own = JournalObserver(
            self.recorder,
            self._plan.document,
            self._plan.meta,
            self._sources,
            started=self._started,
            before_end=self._console.settle,
            sample=Sampler(),
            resumed=self.resumed,
        )
        run.observers = [own, *(MaskedObserver(other, self.masked) for other in run.observers)]

    def abandon(self, failure: ranks.RankFailure) -> None:
        """Write the end of a command that cannot be ended in order, from another thread."""
        _print(f"error: {failure.brief}")
        self.note(str(failure))
        self.recorder.flush()
        now = time.time()
        self.journal.append("end", status="FAILED", stop_time=now, result=None, fail_trace=[str(failure)])
        self.conclude("FAILED")

    def conclude(self, status: str) -> bool:
        """Send what is left for as long as the settings allow, and print where the run is and what can be done next.

        Returns:
            Whether all of its record is on the disk.
        """
        directory, script = _short(self.journal.directory), _short(self._plan.script)
        took = datetime.timedelta(seconds=round(time.monotonic() - self._began))
        pending = 0
        try:
            pending = self._uploader.drain(self._plan.tracking.drain_seconds) if self._uploader else 0
        finally:
            _print(f"{self._name()} {status.lower()} after {took}: {directory}")
            whole = self._report_unwritten(directory, complete=self._uploader is not None and not pending)
            if pending:
                _print(f"{pending} records are still to be sent; send them with: python {script} sync")
            elif self._uploader:
                _print(f"Browse all runs with: python {script} dashboard")
        return whole

    def _report_unwritten(self, directory: str, complete: bool) -> bool:
        """Print how many records a full disk kept from the journal; True where there are none."""
        count, why = self.journal.unwritten()
        if count:
            what = "only the database has them" if complete else "they are lost, and with them the end of the run"
            records = "the last record was" if count == 1 else f"the last {count} records were"
            _print(f"error: {records} never written to {directory} ({why}); {what}")
        return not count

    def _started(self) -> None:
        """The start record is on disk: add what belongs to it, start sending, and print where the run goes."""
        revision = self._plan.revision
        commit = revision.commit if revision else None
        self.journal.append(
            "segment", commit=commit, started=time.time(), processes=distributed.world_size(), **liveness.this_process()
        )
        if revision is not None and revision.dirty:
            self._keep_difference(revision)
        if self.location.url:
            self._uploader = Uploader(
                self.journal.directory,
                self.location.connect,
                max_points=self._plan.tracking.max_points,
                upload_limit_mb=self._plan.tracking.upload_limit_mb,
                backlog=self.journal.backlog,
            )
            self._uploader.start()
            self._uploader.wait_for_number(NUMBER_SECONDS)
        self._sweeping = sweep(self.location.connect)
        _print(self.location.line)
        self._print_where()

    def _print_where(self) -> None:
        directory, origin = _short(self.journal.directory), self._choice.origin
        if self.resumed:
            _print(f"{self._name()} resumed: {directory}")
            if changed := self._changed_sources():
                log.warning("the code has changed since this run started: %s", ", ".join(changed))
            return
        _print(f"{self._name()} started: {directory}")
        if origin is not None:
            self.recorder.info({"resumed_from": origin.name})
            log.warning(
                "run %s cannot be resumed itself (%s): a new run continues from it", origin.name, self._choice.reason
            )
            return
        if self._plan.resume:
            _print(f"nothing to resume: {self._choice.reason}; starting from the beginning")
        for earlier in self._earlier[-1:]:
            end = liveness.end_of(earlier)
            how = end["status"].lower() if end else "did not end"
            _print(f"Run {earlier.name} ({how}) had the same settings")

    def _changed_sources(self) -> list[str]:
        """Source files that are not as they were when the run began."""
        start = next(read(self.journal.directory, metrics=False))
        before = {source["path"]: source["sha256"] for source in start.get("sources") or ()}
        now = {source["path"]: source["sha256"] for source in self._sources}
        return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))

    def _keep_difference(self, revision: provenance.Revision) -> None:
        """Keep what differs from the commit; like the sources it is kept word for word."""
        if not revision.diff:
            log.warning("the changes since the last commit are not kept with the run: too large, or no commit yet")
            return
        path = self.journal.directory / "files" / DIFF_ARTIFACT
        try:
            path.write_bytes(revision.diff)
        except OSError as error:
            log.warning("the changes since the last commit are not kept with the run: %s", error.strerror or error)
            return
        self.journal.append("artifact", name=path.name, file=f"files/{path.name}", bytes=len(revision.diff))

    def _name(self) -> str:
        number = self._uploader.run_id if self._uploader else None
        return f"Run {self.journal.key if number is None else number}"


def read_revision(script: Path, enforce_clean: bool) -> provenance.Revision | None:
    """State of the script's repository; None, with a log line, when it cannot be read.

    Raises:
        UserError: `enforce_clean` and there are changes, or this cannot be found out.
    """
    try:
        found = provenance.revision(script.parent)
    except provenance.Unreadable as error:
        if enforce_clean:
            raise UserError(f"-e: cannot tell whether all changes are committed: {error}") from error
        log.info("the run has no commit: %s", error)
        return None
    if enforce_clean and (found.dirty or found.commit is None):
        raise UserError(f"-e: {script.parent} has changes that are not committed; commit them or leave out -e")
    return found


def perform(
    run: Any, call: Callable[[], Any], options: Mapping[str, Any], session: Session | None = None
) -> tuple[Any, int]:
    """Let Sacred run a command, whose end is reported before Sacred learns of it, so that the log is complete.

    Args:
        run: Sacred's, which calls what it finds as `run.call`.
        call: does the command.
        options: of the command line.
        session: of the recorded run; None where nothing is recorded.

    Returns:
        What the command returned, and the exit code.
    """
    reported_errors: list[BaseException] = []

    def report(error: BaseException) -> None:
        reported_errors.append(error)
        distributed.report_failure(ranks.label(), "")
        lifecycle.report(error, session.note if session else None, full=options["--debug"])

    def reported() -> Any:
        try:
            with ranks.watch(session.handle.directory, session.abandon) if session else contextlib.nullcontext():
                return lifecycle.normalised(call)
        except BaseException as error:
            until.enter_context(lifecycle.ending())
            failed = ranks.failure_behind(error, session.handle.directory) if session else None
            report(failed or error)
            if failed is not None:
                raise failed from error
            raise

    run.call, until = reported, contextlib.ExitStack()  # until Sacred knows of a failure
    try:
        with until:
            run()
    except BaseException as error:
        if not reported_errors:
            report(error)
        if options["--pdb"] and not isinstance(error, KeyboardInterrupt):
            pdb.post_mortem(error.__traceback__)
        return None, lifecycle.exit_code(error)
    return run.result, lifecycle.SUCCESS


def _print(text: str) -> None:
    print(for_terminal(text), file=sys.stderr)


def _short(path: Path) -> str:
    """A path as seen from the working directory, where it lies below it."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
