"""One run's journal records, applied to a database so that any of them may be applied again without harm.

The documents are Sacred's. Records of the run document carry their `seq` into `ostinato.seq` and are applied only where
that is lower; a series carries its own. Metrics are gathered and written together: new points are appended where the
series in the database stands exactly where it was left, and replaced as a whole where that is not known.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bson
from bson import ObjectId
from pymongo import ASCENDING, WriteConcern
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from experiments.tracking import artifacts, children, columns
from experiments.tracking.faults import Rejected, is_outage
from experiments.tracking.finish import final_files, log_ends
from experiments.tracking.journal import Record, read_points
from experiments.tracking.numbers import next_number
from experiments.tracking.series_copy import SeriesCopy, when
from experiments.tracking.values import storable_key

log = logging.getLogger("ostinato.tracking")

REJECTED = "rejected.jsonl"
INFO_LIMIT = 2 * 2**20  # bytes of `info` and `result` in a run document
CHANGED_LIMIT = 300
ESSENTIAL = ("format", "command", "status", "start_time", "heartbeat", "ostinato")
TRACE_LIMIT = 256 * 1024  # characters of a trace
SAFE = WriteConcern(j=True)


def prepare(database: Database) -> None:
    """Indexes, and the run browser's columns in a new database. A database with other habits is used as it is."""
    try:
        database["runs"].create_index([("ostinato.key", ASCENDING)], unique=True, sparse=True)
        database["runs"].create_index([("artifacts.file_id", ASCENDING)])
        database["metrics"].create_index([("run_id", ASCENDING), ("name", ASCENDING)], unique=True)
        artifacts.ensure_indexes(database)
    except OperationFailure as error:
        if is_outage(error):
            raise
        log.warning("database %s: an index could not be made: %s", database.name, error)
    columns.seed(database)


class RunCopy:
    """What the database holds of one run, brought up to date record by record.

    Attributes:
        run_id: the run's number; None until the start record is in the database.
        rejected: number of records the database refused for their content.
        done: whether the end record and everything that follows it is stored.
    """

    def __init__(self, run_dir: Path, max_points: int = 5000, upload_limit_mb: float = 64):
        self.directory, self.key = run_dir, run_dir.name
        self.upload_limit = upload_limit_mb * 2**20
        self.run_id: Any = None
        self.done = False
        self._database: Database | None = None
        self._absorbed = self._stored = 0
        self._metrics = SeriesCopy(run_dir.name, max_points)
        self._changed: dict[str, str] = {}
        self._changed_sent = 0
        self._sizes: dict[str, int] = {}
        self._checkpoints: dict[str, dict[str, Any]] = {}
        self._hashes: dict[tuple[Any, ...], str] = {}
        self._segments: list[dict[str, Any]] = []
        self._log_state: tuple[int, float] | None = None
        self._refused = _refused_before(run_dir / REJECTED)
        self.rejected = len(self._refused)

    @property
    def stored(self) -> int:
        """The highest `seq` that the run document in the database is known to hold."""
        return self._stored

    def attach(self, database: Database) -> None:
        """Go on with a (new) connection: ask what the database holds, and mark what it lacks."""
        prepare(database)
        self._database = database
        fields = {"ostinato.seq": 1, "info.metrics": 1, "info.checkpoints": 1}
        found = database["runs"].find_one({"ostinato.key": self.key}, fields)
        self._stored, self.run_id, self._log_state, self._changed_sent = 0, None, None, 0
        info: dict[str, Any] = {}
        if found is not None:
            self.run_id = found["_id"]
            self._stored = int(found.get("ostinato", {}).get("seq", 0))
            info = found.get("info") or {}
            for entry in info.get("checkpoints", []):
                if entry.get("sha256"):
                    self._hashes[_checkpoint_mark(entry)] = entry["sha256"]
        self._metrics.attach(database, self.run_id, info.get("metrics", []))

    def apply(self, record: Record) -> None:
        """Bring one record into the database, or a metrics record into the series that `flush` writes.

        Raises:
            PyMongoError: with `is_outage`, to be repeated; otherwise the record's content is refused.
            Rejected, OSError, ValueError: the record's content is refused.
        """
        seq = record["seq"]
        if seq > self._absorbed:
            self._absorb(record)
            self._absorbed = seq
        if record["kind"] == "metrics":
            return
        self.done = record["kind"] == "end" and seq <= self._stored
        if seq <= self._stored:
            return
        writer = _WRITERS.get(record["kind"])
        if writer is None:
            raise Rejected(f"records of the kind {record['kind']!r} are not known")
        if self.run_id is None and record["kind"] != "start":
            raise Rejected("the run has no start record")
        writer(self, record)
        self._stored = max(self._stored, seq)

    def reject(self, record: Record, reason: str) -> None:
        """Set a record aside in `rejected.jsonl`, with the reason, and count it in the run document."""
        if record["seq"] not in self._refused:
            self._refused.add(record["seq"])
            self.rejected += 1
            try:
                with open(self.directory / REJECTED, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"reason": reason[:2000], **record}) + "\n")
            except OSError as error:
                log.warning("%s cannot be written: %s", self.directory / REJECTED, error.strerror)
        self._remark(f"{record['kind']} {record.get('name', record['seq'])}", f"refused: {reason}"[:500])
        if record["kind"] == "start" and self.run_id is None:  # the run is recorded all the same
            document = {field: record["document"][field] for field in ESSENTIAL if field in record["document"]}
            self.run_id = self._insert(self._document(record | {"document": document, "sources": []}))
        if self.run_id is not None:
            values = {"info.tracking.rejected": self.rejected}
            if record["kind"] == "end":  # the run has ended all the same
                stop = when(record["stop_time"])
                values |= {"status": record["status"], "stop_time": stop, "heartbeat": stop}
                self.done = True
            self._update(values, record["seq"], always=True)
        self._stored = max(self._stored, record["seq"])

    def flush(self) -> None:
        """Write the gathered points and remarks."""
        if self.run_id is None:
            return
        for name, why in self._metrics.flush(self._database, self.run_id).items():
            self._remark(f"metrics {name}", why)
        if len(self._changed) > self._changed_sent:
            self._update({f"info.tracking.changed.{name}": what for name, what in self._changed.items()})
            self._changed_sent = len(self._changed)

    # what the journal says, without a database

    def _absorb(self, record: Record) -> None:
        for name, what in record.get("changed", {}).items():
            if len(self._changed) < CHANGED_LIMIT:
                self._changed[name] = what
        kind = record["kind"]
        if kind == "metrics":
            self._metrics.add(record)
        elif kind == "rewind":
            self._metrics.rewind(record, lambda: read_points(self.directory, until=record["seq"]))
        elif kind == "checkpoint":
            self._absorb_checkpoint(record)
        elif kind == "segment":
            start = when(record.get("started", record["time"]))
            self._segments.append({"start": start, "host": record.get("host"), "commit": record.get("commit")})
        elif kind == "end" and self._segments:
            self._segments[-1] |= {"stop": when(record["stop_time"]), "status": record["status"]}

    def _absorb_checkpoint(self, record: Record) -> None:
        fields = ("name", "path", "bytes", "epoch", "step", "score", "best")
        entry = {field: record.get(field) for field in fields} | {"last": True}
        for other in self._checkpoints.values():
            other["last"] = False
            other["best"] = other["best"] and not entry["best"]
        self._checkpoints.pop(entry["name"], None)
        self._checkpoints[entry["name"]] = entry

    # what the database gets

    def _start(self, record: Record) -> None:
        database = self._database
        known = database["runs"].find_one({"ostinato.key": self.key}, {"_id": 1})
        if known is None:
            known = {"_id": self._insert(self._document(record))}
        self.run_id = known["_id"]
        for source in record.get("sources") or ():
            try:
                artifacts.put(database, self.directory / source["file"], source["sha256"])
            except (OSError, artifacts.FileChanged) as error:
                self._remark(f"source {source['path']}", str(error))
        self._update({}, record["seq"])

    def _document(self, record: Record) -> dict[str, Any]:
        document = dict(record["document"])
        for field in ("start_time", "stop_time", "heartbeat"):
            if isinstance(document.get(field), int | float):
                document[field] = when(document[field])
        sources = [[source["path"], artifacts.file_id(source["sha256"])] for source in record.get("sources") or ()]
        document["experiment"] = dict(document.get("experiment") or {}) | {"sources": sources}
        document["info"] = dict(document.get("info") or {})
        document["artifacts"] = []
        document["ostinato"] = dict(document.get("ostinato") or {}) | {"key": self.key, "seq": 0}
        for path, value in document["info"].items():
            self._sizes[f"info.{path}"] = _size(value)
        return document

    def _insert(self, document: dict[str, Any]) -> Any:
        runs = self._database["runs"].with_options(write_concern=SAFE)
        while True:
            number = next_number(self._database)
            try:
                runs.insert_one({"_id": number, **document})
                return number
            except DuplicateKeyError:
                known = runs.find_one({"ostinato.key": self.key}, {"_id": 1})
                if known is not None:
                    return known["_id"]

    def _beat(self, record: Record) -> None:
        values = self._allowed(record.get("set") or {}, record["seq"])
        state = _file_state(self.directory / "run.log")
        if state is not None and state != self._log_state:
            values["captured_out"] = log_ends(self.directory / "run.log")
        self._update(values | {"heartbeat": when(record["time"])}, record["seq"])
        self._log_state = state

    def _info(self, record: Record) -> None:
        given = record.get("set") or {}
        paths = {path if path.split(".")[0] == "info" else f"info.{path}": value for path, value in given.items()}
        self._update(self._allowed(paths, record["seq"]), record["seq"])

    def _artifact(self, record: Record) -> None:
        if record.get("file"):
            identity = artifacts.put(self._database, self.directory / record["file"])
            self._link(record["name"], identity)
        self._update({}, record["seq"])

    def _children(self, record: Record) -> None:
        children.insert(self._database, self.directory / record["file"], self.run_id, self.key)
        self._update({}, record["seq"])

    def _checkpoint(self, record: Record) -> None:
        entry, path = self._checkpoints.get(record["name"]), self.directory / record["path"]
        if entry is not None and _checkpoint_mark(entry) == _checkpoint_mark(record) and path.is_file():
            try:
                self._hashes[_checkpoint_mark(entry)] = digest = artifacts.sha256(path)
                if path.stat().st_size <= self.upload_limit:
                    self._link(entry["name"].replace("/", "_"), artifacts.put(self._database, path, digest))
            except (FileNotFoundError, artifacts.FileChanged):  # by the next one, which has a record of its own
                self._hashes.pop(_checkpoint_mark(entry), None)
        self._update({"info.checkpoints": self._checkpoint_list()}, record["seq"])

    def _segment(self, record: Record) -> None:
        if len(self._segments) == 1:
            self._update({"info.segments": self._segments}, record["seq"])
            return
        again = {"status": "RUNNING", "stop_time": None, "heartbeat": when(record["time"])}
        where = {"_id": self.run_id, "ostinato.seq": {"$lt": record["seq"]}}
        change = {"$set": again | {"info.segments": self._segments, "ostinato.seq": record["seq"]}}
        runs = self._database["runs"].with_options(write_concern=SAFE)
        runs.update_one(where, change | {"$unset": {"fail_trace": ""}})

    def _rewind(self, record: Record) -> None:
        self.flush()
        self._update({}, record["seq"])

    def _end(self, record: Record) -> None:
        self.flush()
        stop = when(record["stop_time"])
        values = {"status": record["status"], "stop_time": stop, "heartbeat": stop}
        if record.get("result") is not None:
            values |= self._allowed({"result": record["result"]}, record["seq"])
        if record.get("fail_trace"):
            values["fail_trace"] = _last_lines(record["fail_trace"])
        if (self.directory / "run.log").exists():
            values["captured_out"] = log_ends(self.directory / "run.log")
        if self._segments:
            values["info.segments"] = self._segments
        where = {"_id": self.run_id, "ostinato.seq": {"$lt": record["seq"]}}
        self._database["runs"].with_options(write_concern=SAFE).update_one(where, {"$set": values})
        for name, path in final_files(self.directory, self._checkpoint_list()):
            try:
                self._link(name, artifacts.put(self._database, path))
            except (OSError, artifacts.FileChanged) as error:
                self._remark(f"artifact {name}", str(error))
        self.flush()
        self._update({}, record["seq"])
        self.done = True

    def _checkpoint_list(self) -> list[dict[str, Any]]:
        return [entry | {"sha256": self._hashes.get(_checkpoint_mark(entry))} for entry in self._checkpoints.values()]

    def _allowed(self, values: Mapping[str, Any], seq: int) -> dict[str, Any]:
        """The changes a record may make: result and information, nothing that others keep, and not without bound."""
        allowed: dict[str, Any] = {}
        for path, value in _spread(values).items():
            root = path.split(".")[:2]
            if root[0] not in ("info", "result") or root in (["info", "metrics"], ["info", "tracking"]):
                self._remark(path, f"record {seq} may not set this")
                continue
            size = _size(value)
            total = sum(self._sizes.values()) - self._sizes.get(path, 0) + size
            if total > INFO_LIMIT:
                self._remark(path, f"left out: {size} bytes more than the {INFO_LIMIT} that fit; it is in the journal")
                continue
            self._sizes[path] = size
            allowed[path] = value
        return allowed

    def _remark(self, path: str, what: str) -> None:
        if len(self._changed) < CHANGED_LIMIT:
            self._changed[storable_key(path)] = what

    def _update(self, values: Mapping[str, Any], seq: int | None = None, always: bool = False) -> None:
        """Set paths of the run document, if it does not yet hold the record `seq`."""
        where: dict[str, Any] = {"_id": self.run_id}
        change: dict[str, Any] = {"$set": dict(values)} if values else {}
        if seq is not None:
            if not always:
                where["ostinato.seq"] = {"$lt": seq}
            change["$max"] = {"ostinato.seq": seq}
        self._database["runs"].update_one(where, change)

    def _link(self, name: str, identity: ObjectId) -> None:
        """Name a stored file as an artifact, in place of the one that had the name."""
        runs = self._database["runs"]
        found = runs.find_one({"_id": self.run_id}, {"artifacts": {"$elemMatch": {"name": name}}}) or {}
        before = found["artifacts"][0]["file_id"] if found.get("artifacts") else None
        if before is None:
            entry = {"name": name, "file_id": identity}
            runs.update_one({"_id": self.run_id, "artifacts.name": {"$ne": name}}, {"$push": {"artifacts": entry}})
        elif before != identity:
            where = {"_id": self.run_id, "artifacts.name": name}
            runs.update_one(where, {"$set": {"artifacts.$.file_id": identity}})
            artifacts.delete_if_unused(self._database, before)


_WRITERS = {
    "start": RunCopy._start,
    "beat": RunCopy._beat,
    "info": RunCopy._info,
    "artifact": RunCopy._artifact,
    "children": RunCopy._children,
    "checkpoint": RunCopy._checkpoint,
    "segment": RunCopy._segment,
    "rewind": RunCopy._rewind,
    "end": RunCopy._end,
}


def _size(value: Any) -> int:
    return len(bson.encode({"": value}))


def _spread(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"info": {"a": 1}}` as `{"info.a": 1}`: setting the whole would remove what others keep there."""
    spread: dict[str, Any] = {}
    for path, value in values.items():
        if path == "info" and isinstance(value, dict):
            spread |= {f"info.{key}": inner for key, inner in value.items()}
        else:
            spread[path] = value
    return spread


def _checkpoint_mark(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(entry.get(field) for field in ("name", "path", "bytes", "epoch", "step"))


def _last_lines(trace: Any) -> list[str]:
    """A trace as lines of text, its beginning left out where it is longer than `TRACE_LIMIT`."""
    lines = [str(line) for line in trace] if isinstance(trace, list) else str(trace).splitlines(keepends=True)
    length = 0
    for position in range(len(lines) - 1, -1, -1):
        length += len(lines[position])
        if length > TRACE_LIMIT:
            return ["[…]\n", *lines[position + 1 :]]
    return lines


def _file_state(path: Path) -> tuple[int, float] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime


def _refused_before(path: Path) -> set[int]:
    if not path.exists():
        return set()
    return {json.loads(line)["seq"] for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")}
