"""Child runs: a line each on the disk, a run each in the database."""

from __future__ import annotations

import time

import pytest

from experiments.tracking import ChildRun
from experiments.tracking.journal import read
from experiments.tracking.run import Recorder, RunHandle
from experiments.tracking.sync import sync

pytestmark = pytest.mark.usefixtures("home")


def child_runs(count: int, **more) -> list[ChildRun]:
    curve = [(step * 8, 0.5 + step / 100) for step in range(10)]
    return [
        ChildRun(f"{number:04d}", "probe", {"probe_point": {"l2": number}}, number / count, time.time(), **more)
        if number % 2
        else ChildRun(f"{number:04d}", "probe", {}, None, time.time(), metrics={"valid/auc": curve}, failure="bad")
        for number in range(count)
    ]


def test_they_are_runs_of_their_own_once(journal, database, run_document):
    journal.append("start", document=run_document(command="main"), sources=[])
    handle = RunHandle(journal.directory, 0, Recorder(journal))
    handle.add_child_runs(child_runs(216, info={"sweep_key": handle.key}, tags=("genre",)), "light.jsonl")
    journal.append("end", status="COMPLETED", stop_time=time.time(), result=None, fail_trace=None)
    assert [record["kind"] for record in read(journal.directory)] == ["start", "children", "end"]
    for _ in range(2):
        sync(database, runs=[journal.directory])
        runs = list(database["runs"].find({"ostinato.parent": {"$exists": True}}).sort("_id", -1))
        assert [run["_id"] for run in runs] == list(range(-1, -217, -1))
        assert database["metrics"].count_documents({}) == 108
    parent = database["runs"].find_one({"ostinato.key": journal.key})
    assert parent["_id"] == 1
    failed, fine = runs[:2]
    assert (fine["status"], fine["result"], fine["config"]) == ("COMPLETED", 1 / 216, {"probe_point": {"l2": 1}})
    assert (fine["info"]["sweep_key"], fine["info"]["sweep"]) == (journal.key, parent["_id"])
    assert fine["omniboard"]["tags"] == ["genre"]
    assert fine["experiment"]["name"] == parent["experiment"]["name"]
    assert (failed["status"], failed["fail_trace"]) == ("FAILED", ["bad"])
    (entry,) = failed["info"]["metrics"]
    series = database["metrics"].find_one({"run_id": failed["_id"]})
    assert (entry["id"], entry["name"]) == (str(series["_id"]), series["name"])
    assert series["steps"] == [step * 8 for step in range(10)]


def test_those_that_are_missing_are_added(journal, database, run_document):
    journal.append("start", document=run_document(), sources=[])
    RunHandle(journal.directory, 0, Recorder(journal)).add_child_runs(child_runs(6), "light.jsonl")
    journal.append("end", status="COMPLETED", stop_time=time.time(), result=None, fail_trace=None)
    sync(database, runs=[journal.directory])
    database["runs"].delete_many({"config.probe_point.l2": {"$in": [1, 3]}})
    database["metrics"].delete_many({})
    database["runs"].update_one({"ostinato.key": journal.key}, {"$set": {"ostinato.seq": 1}})
    sync(database, runs=[journal.directory])
    assert database["runs"].count_documents({"ostinato.parent": {"$exists": True}}) == 6
    assert database["metrics"].count_documents({}) == 3


def test_an_unrecorded_run_has_none(tmp_path):
    RunHandle(tmp_path, 0).add_child_runs(child_runs(2), "light.jsonl")
    assert list(tmp_path.iterdir()) == []
