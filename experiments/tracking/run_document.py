"""The documents of a run and of its child runs in Sacred's form, as its journal makes them, and their numbers.

Runs count up from 1. The child runs of a sweep count down from -1: the run browser shows the highest number first, and
thousands of probes belong below the runs that people look for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, ReplaceOne, ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from experiments.tracking import artifacts
from experiments.tracking.faults import BATCH, insert_missing
from experiments.tracking.journal import Record
from experiments.tracking.series_copy import when

COUNTERS = "ostinato.counters"
CHILD_COUNTER = "light runs"  # its name in databases that exist
ESSENTIAL = ("format", "command", "status", "start_time", "heartbeat", "ostinato")
INHERITED = {"experiment": 1, "format": 1, "host": 1, "start_time": 1}
TRACE_LIMIT = 256 * 1024  # characters of a trace


def started(record: Record, key: str) -> dict[str, Any]:
    """The document of a run that begins with this record."""
    document = dict(record["document"])
    for field in ("start_time", "stop_time", "heartbeat"):
        if isinstance(document.get(field), int | float):
            document[field] = when(document[field])
    sources = [[source["path"], artifacts.file_id(source["sha256"])] for source in record.get("sources") or ()]
    document["experiment"] = dict(document.get("experiment") or {}) | {"sources": sources}
    document["info"] = dict(document.get("info") or {})
    document["artifacts"] = []
    document["ostinato"] = dict(document.get("ostinato") or {}) | {"key": key, "seq": 0}
    return document


def essential(record: Record) -> Record:
    """A start record that was refused, without what it may have been refused for."""
    document = {field: record["document"][field] for field in ESSENTIAL if field in record["document"]}
    return record | {"document": document, "sources": []}


def insert(database: Database, document: dict[str, Any]) -> Any:
    """Bring a run's document into the database, unless one with its key is there; gives the run's number."""
    runs = database["runs"]
    while True:
        number = next_number(database)
        try:
            runs.insert_one({**document, "_id": number})
            return number
        except DuplicateKeyError:
            known = runs.find_one({"ostinato.key": document["ostinato"]["key"]}, {"_id": 1})
            if known is not None:
                return known["_id"]


def insert_children(database: Database, file: Iterable[bytes], parent: Any, key: str) -> int:
    """Bring the child runs of a file into the database.

    Args:
        database: Of the runs.
        file: Its lines.
        parent: Number of the run that they are of.
        key: Its key.

    Returns:
        How many were not there before.
    """
    lines = [json.loads(line) for line in file]
    runs, own = database["runs"], {"ostinato.key": {"$gt": f"{key}/", "$lt": f"{key}0"}}  # 0 follows the slash
    known = {one["ostinato"]["key"] for one in runs.find(own, {"ostinato.key": 1})}
    new = [line for line in lines if f"{key}/{line['name']}" not in known]
    inherited = runs.find_one({"_id": parent}, INHERITED) or {}
    numbers = next_child_numbers(database, len(new)) if new else range(0)
    insert_missing(runs, [_child(line, parent, key, inherited, n) for line, n in zip(new, numbers, strict=True)])
    numbered = {one["ostinato"]["key"]: one["_id"] for one in runs.find(own, {"ostinato.key": 1})}
    series = [one for line in lines for one in _series(line, key, numbered)]
    held = {one["_id"] for one in database["metrics"].find({"run_id": {"$in": list(numbered.values())}}, {"_id": 1})}
    lacking = [ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in series if one["_id"] not in held]
    for first in range(0, len(lacking), BATCH):
        database["metrics"].bulk_write(lacking[first : first + BATCH], ordered=False)
    return len(new)


def paths_set(record: Record) -> dict[str, Any]:
    """What a record sets, by path."""
    given = record.get("set") or {}
    if record["kind"] == "beat":
        return given
    return {path if path.split(".")[0] == "info" else f"info.{path}": value for path, value in given.items()}


def last_lines(trace: Any) -> list[str]:
    """A trace as lines of text, its beginning left out where it is longer than `TRACE_LIMIT`."""
    lines = [str(line) for line in trace] if isinstance(trace, list) else str(trace).splitlines(keepends=True)
    length = 0
    for position in range(len(lines) - 1, -1, -1):
        length += len(lines[position])
        if length > TRACE_LIMIT:
            return ["[…]\n", *lines[position + 1 :]]
    return lines


def next_number(database: Database) -> int:
    """A run number above every number that was drawn and every number of a run there is."""
    return _drawn(database, "runs", 1, floor=_outermost(database, DESCENDING))


def next_child_numbers(database: Database, count: int) -> range:
    """Numbers below 0, below every one that was drawn and every number of a run there is, from the highest down."""
    last = _drawn(database, CHILD_COUNTER, count, floor=-_outermost(database, ASCENDING))
    return range(count - last - 1, -last - 1, -1)


def _outermost(database: Database, order: int) -> int:
    """The first number of a run in that order; 0 where there is none."""
    found = database["runs"].find_one({"_id": {"$type": "number"}}, {"_id": 1}, sort=[("_id", order)])
    return int(found["_id"]) if found else 0


def _drawn(database: Database, name: str, count: int, floor: int) -> int:
    """The last of `count` numbers above 0, the floor, and all that were drawn under this name."""
    counters, least = database[COUNTERS], {"$max": {"value": max(0, floor)}}
    try:
        counters.update_one({"_id": name}, least, upsert=True)
    except DuplicateKeyError:  # made by another process at this moment
        counters.update_one({"_id": name}, least)
    drawn = counters.find_one_and_update(
        {"_id": name}, {"$inc": {"value": count}}, return_document=ReturnDocument.AFTER
    )
    return int(drawn["value"])


def _child(line: Mapping[str, Any], parent: Any, key: str, inherited: Mapping[str, Any], number: int) -> dict:
    full, ended = f"{key}/{line['name']}", when(line["time"])
    failed = {"fail_trace": [line["failure"]]} if line["failure"] else {}
    return failed | {
        "_id": number,
        "experiment": {**inherited.get("experiment", {}), "sources": [], "dependencies": []},
        "format": inherited.get("format"),
        "command": line["command"],
        "host": inherited.get("host", {}),
        "start_time": inherited.get("start_time", ended),
        "stop_time": ended,
        "heartbeat": ended,
        "config": line["config"],
        "meta": {"command": line["command"], "options": {}},
        "status": "FAILED" if line["failure"] else "COMPLETED",
        "resources": [],
        "artifacts": [],
        "captured_out": "",
        "info": {
            **line["info"],
            "sweep": parent,
            "metrics": [{"name": name, "id": str(_series_id(full, name))} for name in line["metrics"]],
        },
        "result": line["result"],
        "omniboard": {"tags": list(line["tags"])},
        "ostinato": {"key": full, "parent": parent, "seq": 0},
    }


def _series(line: Mapping[str, Any], key: str, numbered: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    full = f"{key}/{line['name']}"
    for name, points in line["metrics"].items():
        columns = {"steps": [step for step, _ in points], "values": [value for _, value in points]}
        times = [when(line["time"])] * len(points)
        yield {"_id": _series_id(full, name), "run_id": numbered[full], "name": name, **columns, "timestamps": times}


def _series_id(full: str, name: str) -> ObjectId:
    return ObjectId(hashlib.sha256(f"{full} {name}".encode()).digest()[:12])
