"""The metric series of one run in a database: each point exactly once, whatever was lost or repeated on the way."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from datasets.thinned_series import ThinnedSeries
from experiments.tracking.faults import is_outage, only_duplicates
from experiments.tracking.journal import Record
from experiments.tracking.run import NONFINITE_SERIES

BATCH = 500  # series written at once


class SeriesCopy:
    """Gathers the points of a journal and writes them to `metrics`.

    A series in the database carries the number of the last record it holds. New points are appended where that number
    is the one left there; where it is not known (a new connection, another writer) the whole series is replaced, but
    never by an older state. An update that reaches the server late therefore changes nothing.
    """

    def __init__(self, key: str, max_points: int):
        self.key, self.max_points = key, max_points
        self._series: dict[str, ThinnedSeries] = {}
        self._sent: dict[str, tuple[int, int]] = {}  # name -> seq and number of points in the database; -1: not known
        self._ids: dict[str, ObjectId] = {}
        self._dirty: set[str] = set()
        self._listed: set[str] = set()  # ids in info.metrics

    def add(self, record: Record) -> None:
        """Gather the points of a metrics record."""
        name = record["name"]
        if record["points"] and name != NONFINITE_SERIES:  # a count, whose scale would hide the curves; see info
            self._series.setdefault(name, ThinnedSeries(self.max_points)).add(record["seq"], record["points"])
            self._dirty.add(name)

    def rewind(self, record: Record, again: Callable[[], Iterable[Record]]) -> None:
        """Take back the points from a rewind record's step on.

        Args:
            again: the metrics records up to this one, without what was taken back; asked for where points were thinned.
        """
        seq, step = record["seq"], record["step"]
        left = {name: series.before(step, seq) for name, series in self._series.items()}
        thinned = {name: ThinnedSeries(self.max_points) for name, series in left.items() if series is None}
        for points in again() if thinned else ():
            if points["name"] in thinned:
                thinned[points["name"]].add(points["seq"], points["points"])
        for series in thinned.values():
            series.seq = seq
        self._series = left | thinned
        self._dirty |= self._series.keys()
        self._sent = {name: (sent, -1) for name, (sent, _) in self._sent.items()}

    def attach(self, database: Database, run_id: Any, listed: Iterable[Mapping[str, Any]]) -> None:
        """Learn what the database holds of the run (`listed`: its `info.metrics`) and mark what it lacks."""
        self._sent, self._listed = {}, {str(entry.get("id")) for entry in listed}
        if run_id is not None:
            for entry in database["metrics"].find({"run_id": run_id}, {"name": 1, "seq": 1}):
                self._ids[entry["name"]] = entry["_id"]
                self._sent[entry["name"]] = (int(entry.get("seq", 0)), -1)
        self._dirty = {
            name
            for name, series in self._series.items()
            if self._sent.get(name, (0, -1))[0] < series.seq or str(self._id(name)) not in self._listed
        }

    def verify(self, database: Database, run_id: Any) -> None:
        """Learn what the database holds, and mark the series that it lacks, does not list or holds fewer points of."""
        run = database["runs"].find_one({"_id": run_id}, {"info.metrics": 1}) or {}
        self.attach(database, run_id, (run.get("info") or {}).get("metrics") or ())
        counted = {"name": 1, "n": {"$size": {"$ifNull": ["$steps", []]}}}
        counts = {entry["name"]: entry["n"] for entry in database["metrics"].find({"run_id": run_id}, counted)}
        for name, series in self._series.items():
            seq, _ = self._sent.get(name, (0, -1))
            if seq == series.seq and counts.get(name, 0) < len(series.points()):
                self._sent[name] = (seq - 1, -1)
                self._dirty.add(name)

    def flush(self, database: Database, run_id: Any) -> dict[str, str]:
        """Write what was gathered, and list new series in the run document, where Omniboard looks for them.

        Returns:
            The series that the database refused for their content, each with the reason; they are not tried again.
        """
        refused: dict[str, str] = {}
        names = sorted(name for name in self._dirty if self._sent.get(name, (0, -1))[0] < self._series[name].seq)
        for first in range(0, len(names), BATCH):
            refused |= self._written(database, run_id, names[first : first + BATCH])
        self._dirty -= refused.keys()
        new = [{"name": name, "id": str(self._id(name))} for name in sorted(self._dirty)]
        new = [entry for entry in new if entry["id"] not in self._listed]
        if new:
            database["runs"].update_one({"_id": run_id}, {"$addToSet": {"info.metrics": {"$each": new}}})
            self._listed |= {entry["id"] for entry in new}
        self._dirty.clear()
        return refused

    def _written(self, database: Database, run_id: Any, names: Sequence[str]) -> dict[str, str]:
        """Write some series, and give those that are refused; where one is, each is tried by itself."""
        try:
            self._write(database, run_id, names)
        except Exception as error:
            if is_outage(error):
                raise
            if len(names) == 1:
                return {names[0]: f"refused: {error}"[:500]}
            each = [self._written(database, run_id, [name]) for name in names]
            return {name: why for refused in each for name, why in refused.items()}
        return {}

    def _write(self, database: Database, run_id: Any, names: Sequence[str]) -> None:
        metrics = database["metrics"]
        append = [name for name in names if self._series[name].stride == 1 and self._sent.get(name, (0, -1))[1] >= 0]
        replace = [name for name in names if name not in set(append)]
        if append:
            result = metrics.bulk_write([self._append(run_id, name) for name in append], ordered=False)
            if result.matched_count < len(append):  # another process wrote
                replace = list(names)
        if replace:
            try:
                metrics.bulk_write([self._replace(run_id, name) for name in replace], ordered=False)
            except BulkWriteError as error:  # duplicate: the series in the database is further on than this one
                if not only_duplicates(error):
                    raise
        for name in names:
            series = self._series[name]
            self._sent[name] = (series.seq, series.seen if series.stride == 1 else -1)

    def _append(self, run_id: Any, name: str) -> UpdateOne:
        """New points for a series that stands where it was left; it matches nothing otherwise."""
        series, (seq, count) = self._series[name], self._sent[name]
        push = {field: {"$each": values} for field, values in _columns(series.points(count)).items()}
        return UpdateOne({"run_id": run_id, "name": name, "seq": seq}, {"$push": push, "$set": {"seq": series.seq}})

    def _replace(self, run_id: Any, name: str) -> UpdateOne:
        """The whole of a series, where the database does not hold a later state of it."""
        series = self._series[name]
        values = _columns(series.points()) | {"seq": series.seq}
        where = {"run_id": run_id, "name": name, "seq": {"$not": {"$gt": series.seq}}}
        return UpdateOne(where, {"$set": values, "$setOnInsert": {"_id": self._id(name)}}, upsert=True)

    def _id(self, name: str) -> ObjectId:
        """The id of a series' document: the one it has, or for a new one a hash of run and name."""
        if name not in self._ids:
            self._ids[name] = ObjectId(hashlib.sha256(f"{self.key} {name}".encode()).digest()[:12])
        return self._ids[name]


def when(seconds: float) -> datetime.datetime:
    """A unix time as the UTC date that MongoDB stores."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _columns(points: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    return {
        "steps": [point[0] for point in points],
        "values": [point[1] for point in points],
        "timestamps": [when(point[2]) for point in points],
    }
