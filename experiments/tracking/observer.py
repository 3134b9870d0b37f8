"""Sacred's events as journal records: the run document at the start, heartbeats, the end.

Sacred drops an observer after its first exception, so no event here raises; what goes wrong is logged and the next
event is treated like any other. Only the start may fail: a run that cannot be recorded at all is not begun.
"""

from __future__ import annotations

import datetime
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sacred.observers import RunObserver

from datasets.storable import storable
from experiments.tracking.liveness import this_process
from experiments.tracking.run import Recorder

FORMAT = "MongoObserver-0.7.0"  # the schema that Omniboard reads

EVENTS = tuple(name for name in vars(RunObserver) if name.endswith("_event") or name in ("log_metrics", "join"))

log = logging.getLogger("ostinato.tracking")

Event = TypeVar("Event", bound=Callable[..., Any])


def never_raises(event: Event) -> Event:
    """An event whose failure is logged and ends there."""

    @functools.wraps(event)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return event(*args, **kwargs)
        except Exception:
            log.exception("the record of this run has a gap: %s failed", event.__name__)
            return None

    return wrapped  # type: ignore[return-value]


class JournalObserver(RunObserver):
    """Writes what Sacred reports into a run's journal.

    Args:
        recorder: of the run.
        document: what goes into the run document besides Sacred's own.
        meta: what goes into its `meta`.
        sources: records of the kept source files (`provenance.keep_sources`).
        started: called once the start record is on the disk.
        before_end: called before the end record is written, when nothing more is printed by the command.
        sample: measurements of the machine, asked for at each heartbeat.
        resumed: the run started earlier, so its document is in the journal.
    """

    priority = 50  # before a file observer, which takes over the name of the run

    def __init__(
        self,
        recorder: Recorder,
        document: Mapping[str, Any],
        meta: Mapping[str, Any],
        sources: Sequence[Mapping[str, str]] = (),
        started: Callable[[], None] = lambda: None,
        before_end: Callable[[], None] = lambda: None,
        sample: Callable[[], Mapping[str, Any]] = dict,
        resumed: bool = False,
    ):
        self._recorder, self._document, self._meta, self._sources = recorder, document, meta, sources
        self._started, self._before_end, self._sample = started, before_end, sample
        self._resumed, self._ended = resumed, False

    def started_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        start_time: datetime.datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: Any,
    ) -> str:
        """Write the run document and return the run's key, by which other observers name it."""
        journal = self._recorder.journal
        if self._resumed:
            self._started()
            return journal.key
        document = {
            "experiment": ex_info,
            "format": FORMAT,
            "command": command,
            "host": host_info,
            "start_time": _unix(start_time),
            "config": config,
            "meta": {"command": command, "comment": meta_info.get("comment", ""), **self._meta},
            "status": "RUNNING",
            "resources": [],
            "artifacts": [],
            "captured_out": "",
            "info": {},
            "heartbeat": _unix(start_time),
            "result": None,
            "omniboard": {"tags": []},
            "ostinato": {"key": journal.key, **this_process()},
            **self._document,
        }
        journal.append("start", document=document, sources=list(self._sources))
        self._started()
        return journal.key

    @never_raises
    def heartbeat_event(
        self, info: dict[str, Any], captured_out: str, beat_time: datetime.datetime, result: Any
    ) -> None:
        """Write what gathered since the last beat, and the beat itself."""
        if self._ended:
            return
        if measured := dict(self._sample()):
            self._recorder.info({"system": measured})
        self._recorder.flush()
        self._recorder.journal.append("beat", set={} if result is None else {"result": flat_result(result)})

    @never_raises
    def completed_event(self, stop_time: datetime.datetime, result: Any) -> None:
        self._end("COMPLETED", stop_time, result)

    @never_raises
    def interrupted_event(self, interrupt_time: datetime.datetime, status: str) -> None:
        self._end(status, interrupt_time)

    @never_raises
    def failed_event(self, fail_time: datetime.datetime, fail_trace: list[str]) -> None:
        self._end("FAILED", fail_time, fail_trace=fail_trace)

    @never_raises
    def artifact_event(
        self, name: str, filename: str, metadata: dict[str, Any] | None = None, content_type: str | None = None
    ) -> None:
        self._recorder.add_artifact(filename, name)

    def _end(
        self, status: str, when: datetime.datetime, result: Any = None, fail_trace: list[str] | None = None
    ) -> None:
        if self._ended:
            return
        self._ended = True
        self._recorder.flush()
        never_raises(self._before_end)()
        self._recorder.journal.append(
            "end", status=status, stop_time=_unix(when), result=flat_result(result), fail_trace=fail_trace
        )


class MaskedObserver(RunObserver):
    """Another observer of the same run, which gets every event without its secrets.

    Args:
        observer: any of Sacred's.
        masked: takes the secrets out of a text or nested value.
    """

    def __init__(self, observer: RunObserver, masked: Callable[[Any], Any]):
        def passing(event: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *args, **kwargs: event(*map(masked, args), **{key: masked(kwargs[key]) for key in kwargs})

        self.priority = observer.priority
        for name in EVENTS:
            setattr(self, name, passing(getattr(observer, name)))


def flat_result(result: Any) -> Any:
    """A result as the run browser can sort it: one level of plain values, nested names joined by `/`."""
    plain = storable(result)[0]
    if not isinstance(plain, dict):
        return plain
    flat: dict[str, Any] = {}
    stack = list(reversed(plain.items()))
    while stack:
        name, value = stack.pop()
        if isinstance(value, dict) and value:
            stack.extend((f"{name}/{inner}", deeper) for inner, deeper in reversed(value.items()))
        else:
            flat[name] = value
    return flat


def _unix(moment: datetime.datetime) -> float:
    """Seconds since 1970 of Sacred's naive UTC times."""
    return moment.replace(tzinfo=datetime.UTC).timestamp()
