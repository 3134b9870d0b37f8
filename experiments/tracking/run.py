"""The run as its command sees it: a directory, a seed, and where to record results.

`Recorder` writes into the journal and never raises: a value that cannot be kept is named, and the run continues.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from datasets.storable import NonFinite, is_nonfinite, storable, storable_key
from experiments.tracking.journal import Journal, read
from experiments.tracking.lifecycle import signals_deferred
from experiments.tracking.masking import mask

if TYPE_CHECKING:
    from experiments.tracking.location import Location

BATCH_POINTS = 512  # points gathered before they are written
BATCH_SECONDS = 1.0
NONFINITE_SERIES = "health/nonfinite"
OWN_INFO = ("metrics", "tracking", "checkpoints", "segments")  # kept by the record itself

log = logging.getLogger("ostinato.tracking")

P, T = ParamSpec("P"), TypeVar("T")


@dataclass(frozen=True)
class ChildRun:
    """A small result of a run, shown in the run browser as a run of its own: without a folder and a log.

    Those of a run are one file, a JSON object a line, and one record in its journal, so that a thousand of them cost as
    much as one.

    Attributes:
        name: Tells it from the others of its run.
        command: What it did, as the run browser shows it.
        config: Its settings.
        result: What it came to; a number can be sorted by.
        info: Further facts.
        metrics: Series by name: `[step, value]` points.
        time: Unix time of its end.
        failure: Why it failed; None where it did not.
        tags: Labels.
    """

    name: str
    command: str
    config: Mapping[str, Any]
    result: Any
    time: float
    info: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Iterable[tuple[int, float]]] = field(default_factory=dict)
    failure: str | None = None
    tags: tuple[str, ...] = ()


class Recorder:
    """Gathers points, information and files of one run and appends them to its journal; any thread may call it.

    Attributes:
        journal: where everything goes.
        on_info: called with the whole of the run's information after each change.
        on_scalar: called with name, value and step of each finite number.
    """

    def __init__(self, journal: Journal):
        self.journal = journal
        self.on_info: Callable[[dict[str, Any]], None] | None = None
        self.on_scalar: Callable[[str, Any, Any], None] | None = None
        self._lock = threading.RLock()
        self._points: dict[str, list[list[Any]]] = {}
        self._count, self._written = 0, time.monotonic()
        self._next_step: dict[str, int] = {}
        self._nonfinite: dict[str, NonFinite] = {}
        self._nonfinite_news = False
        self._info: dict[str, Any] = {}
        for record in read(journal.directory, metrics=False):  # of a resumed run
            if record["kind"] == "info":
                self._info |= {path.removeprefix("info."): value for path, value in record["set"].items()}

    def log_scalar(self, name: str, value: Any, step: int | None = None) -> None:
        """Add a point to the series `name` (`group/name`); the step counts optimiser steps, from 0.

        NaN and infinities are counted instead, and announced when the first one appears.
        """
        name = str(name).replace(".", "_")  # the run browser takes both for the same name
        with self._lock:
            if step is None:
                step = self._next_step.get(name, 0)
            self._next_step[name] = int(step) + 1 if isinstance(step, int | float) and math.isfinite(step) else 0
            point = [step, value, time.time()]
            if not (type(value) is float and math.isfinite(value)) and is_nonfinite(value):
                self._count_nonfinite(name, value, step)
                return
            self._add(name, point)
            if self.on_scalar is not None:
                self.on_scalar(name, value, step)
            if self._count >= BATCH_POINTS or time.monotonic() - self._written > BATCH_SECONDS:
                self.flush()

    @signals_deferred()
    def flush(self) -> None:
        """Write what was logged so far into the journal: a checkpoint must not know of steps that the journal lacks."""
        with self._lock:
            points, self._points = self._points, {}
            self._count, self._written = 0, time.monotonic()
            for name, series in points.items():
                self.journal.append("metrics", name=name, points=series)
            if self._nonfinite_news:
                self._nonfinite_news = False
                counted = {
                    storable_key(name): {"count": found.count, "first": found.first, "last": found.last}
                    for name, found in self._nonfinite.items()
                }
                self.info({"nonfinite": counted})

    @signals_deferred()
    def info(self, values: Mapping[str, Any]) -> None:
        """Set keys of the run's information; nested dictionaries replace what was there."""
        with self._lock:
            changed = {}
            for key, value in values.items():
                name = storable_key(key) + ("_" if key in OWN_INFO else "")
                if name not in self._info or self._info[name] != storable(value)[0]:
                    changed[name] = value
            if not changed:
                return
            self.journal.append("info", set={f"info.{name}": value for name, value in changed.items()})
            self._info = self._info | {name: storable(value)[0] for name, value in changed.items()}
            if self.on_info is not None:
                self.on_info(self._info)

    def rewind(self, step: int) -> None:
        """Take back the points from `step` on, before a run that is resumed from a checkpoint logs them again."""
        with self._lock:
            self.flush()
            self.journal.append("rewind", step=step)

    def known(self, name: str) -> Any:
        """See `RunHandle.known`."""
        return self._info.get(name)

    def add_artifact(self, path: Path | str, name: str | None = None) -> None:
        """Keep a file with the run, in the place of one of the same name.

        The run browser shows pictures, tables and pages (names without slashes).
        """
        self.journal.add_file(path, name)

    def add_child_runs(self, runs: Iterable[ChildRun], name: str) -> None:
        """Keep many small results in a file of the run; the run browser shows each as a run, to filter and compare."""
        runs = list(runs)
        lines = [json.dumps(mask(storable(asdict(run))[0]), allow_nan=False) + "\n" for run in runs]
        try:
            size = (self.journal.directory / "files" / name).write_text("".join(lines), encoding="utf-8")
        except OSError as error:
            log.error("%d results of run %s cannot be kept: %s", len(runs), self.journal.key, error.strerror or error)
            return
        self.journal.append("children", name=name, file=f"files/{name}", bytes=size)

    def register_checkpoint(
        self,
        path: Path | str,
        epoch: int | None = None,
        step: int | None = None,
        score: float | None = None,
        best: bool = False,
    ) -> None:
        """Record a checkpoint: where it lies, its size and hash, what it scored."""
        path = Path(path).absolute()
        inside = path.is_relative_to(self.journal.directory)
        self.journal.append(
            "checkpoint",
            name=path.name,
            path=path.relative_to(self.journal.directory).as_posix() if inside else str(path),
            bytes=path.stat().st_size if path.is_file() else None,
            epoch=epoch,
            step=step,
            score=score,
            best=best,
        )

    def _add(self, name: str, point: list[Any]) -> None:
        self._points.setdefault(name, []).append(point)
        self._count += 1

    def _count_nonfinite(self, name: str, value: Any, step: Any) -> None:
        first = not self._nonfinite
        place = storable(step)[0]
        self._nonfinite.setdefault(name, NonFinite()).add(place)
        total = sum(found.count for found in self._nonfinite.values())
        self._add(NONFINITE_SERIES, [step, float(total), time.time()])
        if first:
            log.warning("%s is %s at step %s: left out of the curve and counted in info.nonfinite", name, value, place)
        self._nonfinite_news = True


def _recorded(method: Callable[Concatenate[Recorder, P], T]) -> Callable[Concatenate[RunHandle, P], T | None]:
    """A method of the recorder as one of the handle, which does nothing where nothing is or can be recorded."""

    @functools.wraps(method)
    def recorded(handle: RunHandle, *args: P.args, **kwargs: P.kwargs) -> T | None:
        recorder = handle._recorder
        if recorder is None or recorder.journal.is_forked(method.__name__):
            return None
        return method(recorder, *args, **kwargs)

    return recorded


class RunHandle:
    """A run, as its command sees it.

    Attributes:
        directory: folder of this run, the same on every rank; put checkpoints and results here.
        key: name of the run before and besides its number.
        seed: the seed all ranks share.
        fingerprint: equal for runs of the same command with the same settings.
        origin: folder of the run that this one continues, its own where it is resumed itself; None for a fresh start.
        is_global_zero: whether this process keeps the record; elsewhere, and with `-u`, every method does nothing.
        location: where the record goes, for commands that read other runs; None where nothing is recorded.
        named: named configs of the command line, in order.
    """

    named: tuple[str, ...] = ()

    def __init__(
        self,
        directory: Path,
        seed: int,
        recorder: Recorder | None = None,
        *,
        fingerprint: str = "",
        is_global_zero: bool = True,
        origin: Path | None = None,
        location: Location | None = None,
    ):
        self.directory, self.key, self.seed, self.fingerprint = directory, directory.name, seed, fingerprint
        self.origin, self.location = origin, location
        self.is_global_zero = is_global_zero
        self._recorder = recorder

    log_scalar = _recorded(Recorder.log_scalar)
    add_artifact = _recorded(Recorder.add_artifact)
    add_child_runs = _recorded(Recorder.add_child_runs)
    register_checkpoint = _recorded(Recorder.register_checkpoint)
    rewind = _recorded(Recorder.rewind)
    flush = _recorded(Recorder.flush)
    _set_info = _recorded(Recorder.info)

    def set_info(self, **values: Any) -> None:
        """Set keys of the run's information, seen under "Run Info"."""
        self._set_info(values)

    def known(self, name: str) -> Any:
        """What a key of the run's information holds, from before an interruption too; None where it is not set."""
        return self._recorder.known(name) if self._recorder is not None else None
