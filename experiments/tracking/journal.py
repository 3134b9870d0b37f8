"""The journal: every event of a run, one JSON object a line, on disk before anything else happens.

`<runs>/<key>/journal.jsonl`, key = `YYYYMMDD-HHMMSS-<6 hex>`. A record is `{"seq", "time", "kind", …}`; `seq` counts
from 1. Lines are appended unbuffered; start, segment, rewind, heartbeat and end are forced to the disk. A torn last
line (the process was killed while writing it) is not a record. A full disk ends nothing: it is reported once, the last
records wait in memory and are written as soon as there is room.

What a record may hold is decided by `values.storable` and `masking.mask`, through which every field passes here.
"""

from __future__ import annotations

import collections
import contextlib
import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets.inside import open_inside
from datasets.storable import Changes, metric_points, storable, storable_key
from datasets.store_files import replace_file
from experiments.tracking.home import pending_directory
from experiments.tracking.lifecycle import signals_deferred
from experiments.tracking.masking import mask

FILE_NAME = "journal.jsonl"
FORCED = frozenset({"start", "segment", "rewind", "beat", "end"})  # kinds that reach the disk before `append` returns
BACKLOG = 10_000  # records kept in memory while the disk is full
NAMED = 100  # changes named in one record
COPIED = 8 * 2**20  # bytes: a larger file is hard-linked where the file system can

log = logging.getLogger("ostinato.tracking")

Record = dict[str, Any]


def new_key(now: float | None = None) -> str:
    """A key no other run has: local time and six random hex digits."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{secrets.token_hex(3)}"


def read(run_dir: Path | str, after: int = 0, metrics: bool = True) -> Iterator[Record]:
    """The records of a journal with `seq` above `after`, in order; a torn last line is left out.

    Args:
        metrics: False leaves out the metrics records, nearly all of a long journal, without parsing them.

    Raises:
        FileNotFoundError: `run_dir` has no journal.
        NotInside: It is a link, or no regular file.
    """
    with open_inside(Path(run_dir), FILE_NAME) as file:
        for line in file:
            if not metrics and b'"kind": "metrics"' in line[:80]:
                continue
            record = parse(line)
            if record is not None and record["seq"] > after:
                yield record


def read_points(run_dir: Path | str, until: int | None = None) -> Iterator[Record]:
    """The metrics records of a journal, without the points that a later `rewind` took back.

    A run that is resumed from a checkpoint at step n repeats what came after; a `rewind` record with that step takes
    back every earlier record's points from step n on.

    Args:
        until: leaves out what has a higher `seq`, rewinds too.
    """
    rewinds = [record for record in read(run_dir, metrics=False) if record["kind"] == "rewind"]
    rewinds = [(record["seq"], record["step"]) for record in rewinds if until is None or record["seq"] <= until]
    for record in read(run_dir):
        if until is not None and record["seq"] > until:
            return
        if record["kind"] == "metrics":
            steps = [step for seq, step in rewinds if seq > record["seq"]]
            if steps:
                record["points"] = [point for point in record["points"] if point[0] < min(steps)]
            yield record


def damage(run_dir: Path | str) -> str | None:
    """Why a journal cannot be continued: a phrase, or None. A torn last line is no damage."""
    expected, kind = 0, None
    with open(Path(run_dir) / FILE_NAME, "rb") as file:
        for number, line in enumerate(file, 1):
            record = parse(line)
            if record is None and line.endswith(b"\n"):
                return f"line {number} is no record"
            if record is None:
                break
            if record["seq"] <= expected:
                return f"line {number} repeats the record {record['seq']}"
            expected, kind = record["seq"], kind or record["kind"]
    return None if kind == "start" else "it does not begin with a start record"


def parse(line: bytes) -> Record | None:
    """The record in a line of a journal; None for a torn one."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("seq"), int) and "kind" in record else None


class Journal:
    """The one writer of a run's journal. Any thread may append; a forked child may not, and gets one warning.

    Attributes:
        key: the run's key, also the name of its directory.
        directory: the run's directory.
        secrets: the secrets met so far, for others who write texts of this run (`masking.mask(text, journal.secrets)`).
    """

    def __init__(self, directory: Path, seq: int, home: Path | None = None, pending: bool = True):
        self.directory, self.key = directory, directory.name
        self.secrets: set[str] = set()
        self._seq, self._pid = seq, os.getpid()
        self._lock = threading.Lock()
        self._backlog: collections.deque[tuple[int, bytes]] = collections.deque(maxlen=BACKLOG)
        self._named: set[tuple[str, str, str]] = set()
        self._dropped = 0
        self._why: OSError | None = None  # the disk was full, or worse, when it was last tried
        self._child_warned = self._closed = False
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(directory / FILE_NAME, flags, 0o600)
        self._size = os.fstat(self._file).st_size
        if pending:
            _point_to(directory, home)

    @classmethod
    def create(cls, runs_dir: Path | str, key: str | None = None, home: Path | None = None) -> Journal:
        """Make a run's directory under `runs_dir` and an empty journal in it.

        Args:
            key: the run's key when it is already known (other ranks use it); else a new one.
            home: holds `pending/`, the pointers to what is not fully sent; default `home.home()`.
        """
        directory = Path(runs_dir).absolute() / (key or new_key())
        directory.mkdir(parents=True, exist_ok=key is not None)
        (directory / "files").mkdir(exist_ok=True)
        return cls(directory, 0, home) if not (directory / FILE_NAME).exists() else cls.open(directory, home)

    @classmethod
    def open(cls, run_dir: Path | str, home: Path | None = None, pending: bool = True) -> Journal:
        """Continue an existing journal; a torn last line is cut off first.

        Args:
            pending: False for another user's run, which is sent on request only.
        """
        directory = Path(run_dir).absolute()
        seq = whole = 0
        with open_inside(directory, FILE_NAME), open(directory / FILE_NAME, "rb+") as file:
            for line in file:
                if line.endswith(b"\n"):
                    whole += len(line)
                    record = parse(line)
                    seq = record["seq"] if record else seq
            file.truncate(whole)
        return cls(directory, seq, home, pending)

    @signals_deferred()
    def append(self, kind: str, *, time_: float | None = None, **fields: Any) -> int:
        """Write one record and return its `seq` (0 in a forked child, where nothing is written).

        Values that cannot be stored are replaced and named: once per key in the log, and in the record's `changed`.

        Args:
            kind: `start`, `metrics`, `beat`, `info`, `artifact`, `children`, `checkpoint`, `segment`, `rewind`, `end`.
            time_: unix time of the event; now when left out.
        """
        if self.is_forked(f"a {kind} record"):
            return 0
        record, changes = self._plain(kind, fields)
        if changes := self._news(kind, changes):
            record["changed"] = changes
        when = time.time() if time_ is None else time_
        with self._lock:
            self._seq += 1
            seq = self._seq
            line = json.dumps({"seq": seq, "time": when, "kind": kind, **record}, allow_nan=False) + "\n"
            self._write(seq, line.encode("ascii"))
        if kind in FORCED:
            self.flush()
        return seq

    def add_file(self, path: Path | str, name: str | None = None) -> int:
        """Keep a copy (or hard link) of `path` in the run's `files/` and append its `artifact` record.

        A later deletion or change of `path` does not matter. A file that cannot be read is named in the record and
        nothing else happens. Slashes in the name become underscores: the run browser cannot show them.
        """
        flat = str(name or Path(path).name).replace("/", "_").replace(os.sep, "_")
        kept = self.directory / "files" / flat
        try:
            size = keep_file(Path(path), kept)
        except OSError as error:
            reason = f"file {path} left out: {error.strerror or error}"
            return self.append("artifact", name=flat, file=None, bytes=0, changed={f"artifact.{flat}": reason})
        return self.append("artifact", name=flat, file=f"files/{flat}", bytes=size)

    def backlog(self) -> list[Record]:
        """The records that wait in memory because the disk is full."""
        with self._lock:
            return [json.loads(line) for _, line in self._backlog]

    def unwritten(self) -> tuple[int, str]:
        """How many records never reached the disk, tried once more now, and why."""
        if not self._closed:
            with self._lock:
                self._write_backlog()
        why = (self._why.strerror or str(self._why)) if self._why is not None else ""
        return self._dropped + len(self._backlog), why

    def is_forked(self, what: str) -> bool:
        """Whether this is a forked process, from which nothing is recorded; the first time it says so of `what`."""
        if os.getpid() == self._pid:
            return False
        if not self._child_warned:
            self._child_warned = True
            problem = "is not recorded from a worker process; return the value to the main process"
            log.warning("run %s: %s %s", self.key, what, problem)
        return True

    def flush(self) -> None:
        """Force what was appended to the disk; other threads may append meanwhile."""
        if self._closed or os.getpid() != self._pid:
            return
        try:
            os.fsync(self._file)
        except OSError as error:
            self._report(error)

    def close(self) -> None:
        """Write what waits, force it to the disk and let the file go; appending ends here."""
        if self._closed or os.getpid() != self._pid:
            return
        with self._lock:
            self._write_backlog()
        self.flush()
        self._closed = True
        os.close(self._file)

    def _plain(self, kind: str, fields: Mapping[str, Any]) -> tuple[Record, Changes]:
        changes: Changes = {}
        given = dict(fields)
        points = given.pop("points", None) if kind == "metrics" else None
        earlier = given.pop("changed", {})
        plain: Record = {}
        for key, value in given.items():
            if key == "set" and isinstance(value, Mapping):  # its keys are paths: their dots are meant
                plain[key] = {}
                for path, inner in value.items():
                    plain[key][str(path)], found = storable(inner, str(path))
                    changes |= found
            else:
                plain[key], found = storable(value, "" if key == "document" else key)
                changes |= found
        if points is not None:
            plain["points"], found = metric_points(points, str(given.get("name", "")))
            changes |= found
        return mask(plain, self.secrets), mask(changes | earlier, self.secrets)

    def _news(self, kind: str, changes: Changes) -> Changes:
        """The changes under keys not named before, which go into the log now."""
        news: Changes = {}
        for path, what in changes.items():
            mark = (kind, path, re.sub(r"[\d.e+-]+", "#", what))
            if mark not in self._named and len(news) < NAMED:
                self._named.add(mark)
                news[storable_key(path)] = what
                log.warning("run %s, %s %s: %s", self.key, kind, path, what)
        return news

    def _write(self, seq: int, line: bytes) -> None:
        self._dropped += len(self._backlog) == BACKLOG
        self._backlog.append((seq, line))
        self._write_backlog()

    def _write_backlog(self) -> None:
        while self._backlog:
            line = self._backlog[0][1]
            try:
                self._write_line(line)
            except OSError as error:
                self._report(error)
                return
            self._backlog.popleft()
        if self._why is not None:
            self._why = None
            lost = f"{self._dropped} records were lost" if self._dropped else "nothing that waited in memory was lost"
            log.warning("%s can be written again; %s", self.directory, lost)

    def _write_line(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            if written:
                os.ftruncate(self._file, self._size)
            raise
        self._size += written

    def _report(self, error: OSError) -> None:
        if self._why is None:
            log.error(
                "%s cannot be written (%s). The run continues; its last %d records stay in memory. Free some space.",
                self.directory / FILE_NAME,
                error.strerror or error,
                BACKLOG,
            )
        self._why = error


def keep_file(source: Path, kept: Path) -> int:
    """Put the content of `source` at `kept` and return its size in bytes.

    Small files are copied, since whoever wrote them may write them again in place; large ones are hard-linked.

    Raises:
        OSError: `source` is not a readable file, or there is no room.
    """
    size = source.stat().st_size
    aside = kept.with_name(f".{kept.name}.{secrets.token_hex(3)}")
    try:
        if size > COPIED:
            with contextlib.suppress(OSError):
                os.link(source, aside)
        if not aside.exists():
            shutil.copyfile(source, aside)
        os.replace(aside, kept)
    finally:
        aside.unlink(missing_ok=True)
    return size


def _point_to(directory: Path, home: Path | None) -> None:
    """Leave a pointer to a journal that is not fully sent; `sync` walks these."""
    pending = pending_directory(home)
    try:
        pending.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(pending / f"{directory.name}.json", json.dumps({"run": str(directory)}).encode())
    except OSError as error:
        log.warning(
            "%s cannot be written (%s): a later sync finds this run only when it is named: %s",
            pending,
            error.strerror or error,
            directory,
        )
