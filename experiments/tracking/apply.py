"""One run's journal records, applied to a database so that any of them may be applied again without harm.

The documents are Sacred's. Records of the run document carry their `seq` into `ostinato.seq` and are applied only where
that is lower; a series carries its own, and files are identified by name. Both are gathered and written together.

Every write is acknowledged from the server's own journal, so that nothing it has once confirmed is gone when it is
killed. What a server lost all the same, `verify` finds and sends again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pymongo import WriteConcern
from pymongo.database import Database
from pymongo.errors import OperationFailure

from datasets.inside import NotInside, file_state, open_inside
from datasets.storable import storable_key
from experiments.tracking import artifacts, run_document
from experiments.tracking.checkpoints_copy import CheckpointsCopy
from experiments.tracking.database import journaled, prepare
from experiments.tracking.faults import Rejected, is_outage
from experiments.tracking.files_copy import File, FilesCopy, inside
from experiments.tracking.finish import FINAL, LOG, log_ends, make_file
from experiments.tracking.information import Information
from experiments.tracking.journal import Record, read_points
from experiments.tracking.masking import mask
from experiments.tracking.rejects import Rejects
from experiments.tracking.run_document import last_lines, paths_set
from experiments.tracking.series_copy import SeriesCopy, when

CHANGED_LIMIT = 300

log = logging.getLogger("ostinato.tracking")


class RunCopy:
    """What the database holds of one run, brought up to date record by record.

    Args:
        own: this machine's user wrote the journal, and its checkpoints may lie elsewhere (`trainer.checkpoint_dir`).
            What somebody else's journal names is read inside of the run's folder only.

    Attributes:
        run_id: the run's number; None until the start record is in the database.
        left_out: what the journal names that is no regular file inside of the run's folder.
        done: whether the end record and everything that follows it is stored.
    """

    def __init__(self, run_dir: Path, max_points: int = 5000, upload_limit_mb: float = 64, own: bool = False):
        self.directory, self.key = run_dir, run_dir.name
        self.upload_limit = upload_limit_mb * 2**20
        self.run_id: Any = None
        self.done = False
        self._database: Database | None = None
        self._absorbed = self._stored = 0
        self._metrics = SeriesCopy(run_dir.name, max_points)
        self._changed: dict[str, str] = {}
        self._changed_sent = 0
        self._files = FilesCopy(lambda name, why: self._warn(f"artifact {name}", why))
        self._information = Information(self._warn)
        self._sources: dict[Any, File] = {}
        self._child_runs: list[str] = []  # files of child runs
        self._checkpoints = CheckpointsCopy(run_dir, own)
        self._segments: list[dict[str, Any]] = []
        self._log_state: tuple[int, int] | None = None
        self._last_end: Record | None = None
        self._rejects = Rejects(run_dir)
        self.left_out: set[str] = set()

    @property
    def rejected(self) -> int:
        """Number of records the database refused for their content."""
        return len(self._rejects)

    @property
    def is_waiting(self) -> bool:
        """Whether files are gathered that the database does not hold or list yet."""
        return self.run_id is not None and self._files.is_waiting

    def attach(self, database: Database) -> None:
        """Go on with a (new) connection: ask what the database holds, and mark what it lacks."""
        prepare(database.with_options(write_concern=WriteConcern()))  # repeated at every start: need not be certain
        self._database = database = journaled(database)
        fields = {"ostinato.seq": 1, "info.metrics": 1, "info.checkpoints": 1, "artifacts": 1}
        found = database["runs"].find_one({"ostinato.key": self.key}, fields)
        self._stored, self.run_id, self._log_state, self._changed_sent = 0, None, None, 0
        info: dict[str, Any] = {}
        if found is not None:
            self.run_id = found["_id"]
            self._stored = int(found.get("ostinato", {}).get("seq", 0))
            info = found.get("info") or {}
            self._checkpoints.attach(info.get("checkpoints") or ())
        self._files.attach((found or {}).get("artifacts") or (), found is not None)
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
        if record["kind"] == "artifact" and self.run_id is not None:
            self._artifact(record)
            return
        if seq <= self._stored:
            return
        if self.run_id is None and record["kind"] != "start":
            raise Rejected("the run has no start record")
        write = getattr(self, f"_write_{record['kind']}", None)
        if write is None:
            raise Rejected(f"records of the kind {record['kind']!r} are not known")
        write(record)
        self._stored = max(self._stored, seq)

    def take(self, record: Record) -> None:
        """`apply`; a record whose content is refused is set aside.

        Raises:
            PyMongoError, UserError: An outage: the record is to be taken again.
        """
        try:
            self.apply(record)
        except Exception as error:
            if is_outage(error):
                raise
            self._reject(record, error)

    def _reject(self, record: Record, error: Exception) -> None:
        """Set a record aside in `rejected.jsonl`, with the reason, and count it in the run document."""
        reason = mask(f"{type(error).__name__}: {error}")
        log.warning("record %d (%s) of run %s is set aside: %s", record["seq"], record["kind"], self.key, reason)
        if isinstance(error, NotInside):
            self.left_out.add(str(record.get("file")))
        self._rejects.add(record, reason)
        self._warn(f"{record['kind']} {record.get('name', record['seq'])}", f"refused: {reason}"[:500])
        if record["kind"] == "start" and self.run_id is None:  # the run is recorded all the same
            document = run_document.started(run_document.essential(record), self.key)
            self.run_id = run_document.insert(self._database, document)
        if self.run_id is not None:
            values = {"info.tracking.rejected": self.rejected}
            if record["kind"] == "end":  # the run has ended all the same
                stop = when(record["stop_time"])
                values |= {"status": record["status"], "stop_time": stop, "heartbeat": stop}
                self.done = True
            self._update(values, record["seq"], always=True)
        self._stored = max(self._stored, record["seq"])

    def flush(self, everything: bool = True) -> None:
        """Write the gathered points, files and warnings.

        Args:
            everything: False may leave the names of new files for later, where there are thousands already.
        """
        if self.run_id is None:
            return
        self._files.flush(self._database, self.run_id, everything)
        for name, why in self._metrics.flush(self._database, self.run_id).items():
            self._warn(f"metrics {name}", why)
        if len(self._changed) > self._changed_sent:
            self._update({f"info.tracking.changed.{name}": what for name, what in self._changed.items()})
            self._changed_sent = len(self._changed)

    def verify(self) -> None:
        """Compare what the database holds of a run that has ended with its journal, and send what it lacks.

        A server that was killed may have forgotten what it had confirmed, while it holds what was sent later. Of a run
        that still writes nothing is compared: the database may be further on than what was read here.
        """
        self.flush()
        if self.run_id is None or not self.done:
            return
        asked = {"info": 1, "result": 1, "status": 1, "artifacts.name": 1}
        found = self._database["runs"].find_one({"_id": self.run_id}, asked)
        if found is None:  # deleted in the run browser meanwhile
            return
        lacking = self._information.lacking(found)
        if self._last_end is not None and found.get("status") != self._last_end["status"]:
            lacking |= self._ending(self._last_end)
        if not self._checkpoints.is_listed((found.get("info") or {}).get("checkpoints") or ()):
            self._checkpoints.hash_all()
            lacking["info.checkpoints"] = self._checkpoints.listed()
        for path, value in lacking.items():
            try:
                self._update({path: value})
            except OperationFailure as error:  # as when it was first sent
                if is_outage(error):
                    raise
        for path in self._child_runs:
            try:
                self._send_child_runs(path)
            except Exception as error:  # not here any more, or refused as when it was first sent
                if is_outage(error):
                    raise
        for entry in self._checkpoints.listed():
            if (entry["bytes"] or 0) <= self.upload_limit:
                self._files.name(self._checkpoints.file(entry))
        self._send_final_files({entry["name"] for entry in found.get("artifacts") or ()})
        self._files.verify(self._database, self.run_id, self._sources)
        self._metrics.verify(self._database, self.run_id)
        self.flush()

    # what the journal says, without a database

    def _absorb(self, record: Record) -> None:
        for name, what in record.get("changed", {}).items():
            if len(self._changed) < CHANGED_LIMIT:
                self._changed[name] = what
        kind = record["kind"]
        if kind == "metrics":
            self._metrics.add(record)
        elif kind == "start":
            self._absorb_start(record)
        elif kind == "children":
            self._child_runs.append(record["file"])
        elif kind in ("info", "beat"):
            self._information.note(self._information.allowed(paths_set(record), record["seq"]))
        elif kind == "rewind":
            self._metrics.rewind(record, lambda: read_points(self.directory, until=record["seq"]))
        elif kind == "checkpoint":
            self._checkpoints.add(record)
        elif kind == "segment":
            start = when(record.get("started", record["time"]))
            self._segments.append({"start": start, "host": record.get("host"), "commit": record.get("commit")})
        elif kind == "end":
            self._last_end = record
            if record.get("result") is not None:
                self._information.note(self._information.allowed({"result": record["result"]}, record["seq"]))
            if self._segments:
                self._segments[-1] |= {"stop": when(record["stop_time"]), "status": record["status"]}

    def _absorb_start(self, record: Record) -> None:
        self._information.begin((record.get("document") or {}).get("info") or {})
        for source in record.get("sources") or ():
            if re.fullmatch("[0-9a-f]{64}", str(source.get("sha256"))) and "file" in source:
                file = inside(self.directory, Path(source["file"]).name, source["file"])
                self._sources[artifacts.file_id(source["sha256"])] = file

    # what the database gets

    def _write_start(self, record: Record) -> None:
        database = self._database
        known = database["runs"].find_one({"ostinato.key": self.key}, {"_id": 1})
        if known is None:
            known = {"_id": run_document.insert(database, run_document.started(record, self.key))}
        self.run_id = known["_id"]
        for source in record.get("sources") or ():
            try:
                file = inside(self.directory, Path(source["file"]).name, source["file"])
                self._files.add_content(database, file, source["sha256"])
            except (OSError, artifacts.FileChanged) as error:
                self._leave_out(f"source {source['path']}", source["file"], error)
        self._files.store(database)
        self._update({}, record["seq"])

    def _write_beat(self, record: Record) -> None:
        values = self._information.allowed(paths_set(record), record["seq"])
        state = file_state(self.directory / LOG)
        if state is not None and state != self._log_state:
            values |= self._log()
        self._update(values | {"heartbeat": when(record["time"])}, record["seq"])
        self._log_state = state

    def _write_info(self, record: Record) -> None:
        self._update(self._information.allowed(paths_set(record), record["seq"]), record["seq"])

    def _artifact(self, record: Record) -> None:
        """Send a file, unless one of its name is listed since before: whether it is the same is for `verify` to see."""
        if not record.get("file"):
            return
        file = inside(self.directory, record["name"], record["file"])
        listed = self._files.name(file)
        if record["seq"] > self._stored or not (listed or record["seq"] in self._rejects):
            self._files.add(self._database, file)

    def _send_child_runs(self, path: str) -> None:
        with open_inside(self.directory, path) as file:
            run_document.insert_children(self._database, file, self.run_id, self.key)

    def _write_children(self, record: Record) -> None:
        self._send_child_runs(record["file"])
        self._update({}, record["seq"])

    def _write_checkpoint(self, record: Record) -> None:
        if self._checkpoints.is_current(record):
            file = self._checkpoints.file(record)
            try:
                with file.open() as handle:
                    digest, size = artifacts.sha256(handle), handle.tell()
                self._checkpoints.hashed(record, digest)
                if size <= self.upload_limit:
                    self._files.add(self._database, file, digest)
            except (OSError, artifacts.FileChanged) as error:
                self._checkpoints.hashed(record, None)
                if not isinstance(error, FileNotFoundError | artifacts.FileChanged):  # the next one's record follows
                    self._leave_out(f"checkpoint {record['name']}", record["path"], error)
        self._update({"info.checkpoints": self._checkpoints.listed()}, record["seq"])

    def _write_segment(self, record: Record) -> None:
        if len(self._segments) == 1:
            self._update({"info.segments": self._segments}, record["seq"])
            return
        again = {"status": "RUNNING", "stop_time": None, "heartbeat": when(record["time"])}
        where = {"_id": self.run_id, "ostinato.seq": {"$lt": record["seq"]}}
        change = {"$set": again | {"info.segments": self._segments, "ostinato.seq": record["seq"]}}
        self._database["runs"].update_one(where, change | {"$unset": {"fail_trace": ""}})

    def _write_rewind(self, record: Record) -> None:
        self.flush()
        self._update({}, record["seq"])

    def _ending(self, record: Record) -> dict[str, Any]:
        """What an end record sets in the run document, besides its result."""
        stop = when(record["stop_time"])
        values = {"status": record["status"], "stop_time": stop, "heartbeat": stop}
        if record.get("fail_trace"):
            values["fail_trace"] = last_lines(record["fail_trace"])
        if file_state(self.directory / LOG) is not None:
            values |= self._log()
        if self._segments:
            values["info.segments"] = self._segments
        return values

    def _write_end(self, record: Record) -> None:
        self.flush()
        values = self._ending(record)
        if record.get("result") is not None:
            values |= self._information.allowed({"result": record["result"]}, record["seq"])
        where = {"_id": self.run_id, "ostinato.seq": {"$lt": record["seq"]}}
        self._database["runs"].update_one(where, {"$set": values})
        self._send_final_files()
        self.flush()
        self._update({}, record["seq"])
        self.done = True

    def _send_final_files(self, listed: Collection[str] = ()) -> None:
        """Make and send what is made at the end; a file that cannot be had is named, and the others are sent."""
        for name in [name for name in FINAL if name not in listed]:
            try:
                path = make_file(name, self.directory, self._checkpoints.listed())
                if path is not None:
                    self._files.add(self._database, inside(self.directory, name, path))
            except Exception as error:
                if is_outage(error):
                    raise
                self._leave_out(f"artifact {name}", name, error)

    def _log(self) -> dict[str, str]:
        try:
            return {"captured_out": log_ends(self.directory)}
        except OSError as error:
            self._leave_out(f"artifact {LOG}", LOG, error)
            return {}

    def _leave_out(self, what: str, path: str, error: Exception) -> None:
        if isinstance(error, NotInside):
            self.left_out.add(path)
        self._warn(what, str(error))

    def _warn(self, path: str, what: str) -> None:
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
