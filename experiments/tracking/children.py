"""The child runs of a run in a database: written in bulk, and what it holds already not again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from bson import ObjectId
from pymongo import ReplaceOne
from pymongo.database import Database

from experiments.tracking.faults import BATCH, insert_missing
from experiments.tracking.run_document import next_child_numbers
from experiments.tracking.series_copy import when

INHERITED = {"experiment": 1, "format": 1, "host": 1, "start_time": 1}


def insert(database: Database, file: Iterable[bytes], parent: Any, key: str) -> int:
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
    insert_missing(runs, [_document(line, parent, key, inherited, n) for line, n in zip(new, numbers, strict=True)])
    numbered = {one["ostinato"]["key"]: one["_id"] for one in runs.find(own, {"ostinato.key": 1})}
    series = [one for line in lines for one in _series(line, key, numbered)]
    held = {one["_id"] for one in database["metrics"].find({"run_id": {"$in": list(numbered.values())}}, {"_id": 1})}
    lacking = [ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in series if one["_id"] not in held]
    for first in range(0, len(lacking), BATCH):
        database["metrics"].bulk_write(lacking[first : first + BATCH], ordered=False)
    return len(new)


def _document(line: Mapping[str, Any], parent: Any, key: str, inherited: Mapping[str, Any], number: int) -> dict:
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
            "metrics": [{"name": name, "id": str(_id(full, name))} for name in line["metrics"]],
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
        yield {"_id": _id(full, name), "run_id": numbered[full], "name": name, **columns, "timestamps": times}


def _id(full: str, name: str) -> ObjectId:
    return ObjectId(hashlib.sha256(f"{full} {name}".encode()).digest()[:12])
