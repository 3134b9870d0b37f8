"""What never reached a database is sent later, once, and runs whose process is gone are closed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bson import json_util
from pymongo import MongoClient

from experiments.errors import UserError
from experiments.tracking import artifacts
from experiments.tracking.journal import FILE_NAME, Journal, read
from experiments.tracking.sync import close_stale, run_state, send, sweep, sync
from experiments.tracking.uploader import Uploader, Waits

pytestmark = pytest.mark.usefixtures("home")

TRAINING = """
import sys, time, psutil, os, socket
from experiments.tracking.journal import Journal
journal = Journal.create(sys.argv[1])
process = psutil.Process()
owner = {"host": socket.gethostname(), "pid": process.pid, "pid_started": process.create_time()}
document = {"status": "RUNNING", "start_time": time.time(), "heartbeat": time.time(), "info": {}, "ostinato": owner}
journal.append("start", document=document, sources=[])
step = 0
while True:
    journal.append("metrics", name="loss", points=[[step, 0.5, time.time()]]); step += 1
    if step % 50 == 0: journal.append("beat", set={"info.step": step})
    print(step, flush=True)
"""


def whole_run(journal: Journal, document: dict, tmp_path, files=(), ended: bool = True) -> int:
    """A run with a bit of everything and its last record; times are fixed, so that two of them are the same."""
    source = journal.directory / "files" / "model.py"
    source.write_text("code")
    sources = [
        {"path": "model.py", "sha256": hashlib.sha256(source.read_bytes()).hexdigest(), "file": "files/model.py"}
    ]
    document |= {"start_time": 1000.0, "heartbeat": 1000.0}
    journal.append("start", time_=1000.0, document=document, sources=sources)
    journal.append("segment", time_=1000.0, host="h", commit="c", started=1000.0)
    (tmp_path / "p.png").write_bytes(b"picture")
    for path in (tmp_path / "p.png", *files):
        journal.add_file(path)
    (journal.directory / "run.log").write_text("line\n" * 100)
    for step in range(300):
        journal.append("metrics", time_=1001.0, name=f"s{step % 4}", points=[[step, step / 3, 1000.0 + step]])
        if step % 50 == 0:
            journal.append("beat", time_=1000.0 + step, set={"info.step": step, "result": {"at": step}})
    (journal.directory / "c.ckpt").write_bytes(b"weights")
    fields = {"path": "c.ckpt", "bytes": 7, "epoch": 1, "step": 2, "score": 0.5, "best": True}
    journal.append("checkpoint", name="c.ckpt", **fields)
    journal.append("info", set={"info.a": 1})
    last = journal.append("info", set={"info.a.b": 1})
    if ended:
        end = {"status": "COMPLETED", "stop_time": 2000.0, "result": {"x": 1.5}, "fail_trace": None}
        last = journal.append("end", time_=2000.0, **end)
    return last


def content(database, key: str) -> dict:
    """Everything stored of a run, without the numbers that differ from one run to the next."""
    run = database["runs"].find_one({"ostinato.key": key})
    metrics = {
        entry["name"]: [entry[field] for field in ("steps", "values", "timestamps", "seq")]
        for entry in database["metrics"].find({"run_id": run["_id"]})
    }
    assert {entry["name"] for entry in run["info"].pop("metrics")} == set(metrics)
    run["ostinato"].pop("key")
    files = {entry["name"]: artifacts.get(database, entry.pop("file_id")) for entry in run["artifacts"]}
    run.pop("_id")
    run["artifacts"].sort(key=lambda entry: entry["name"])
    text = json_util.dumps(run, sort_keys=True)
    return {"run": json.loads(text), "metrics": metrics, "files": files}


def test_a_run_sent_later_gives_the_same_documents_as_a_live_one(
    journal, tmp_path, run_document, database, mongo_url, home
):
    live = Journal.create(tmp_path / "live")
    waits = Waits(poll=0.01)
    uploader = Uploader(live.directory, lambda: MongoClient(mongo_url)[database.name], waits=waits)
    uploader.start()
    whole_run(live, run_document(), tmp_path)
    assert uploader.drain(120) == 0
    whole_run(journal, run_document(), tmp_path)
    assert [path.stem for path in (home / "pending").glob("*.json")] == [journal.key]
    report = sync(database)
    assert report.sent == {journal.key: 2}
    assert report.rejected == 1
    assert content(database, journal.key) == content(database, live.key)
    assert not list((home / "pending").iterdir())
    live.close()


def test_twice_changes_nothing(journal, tmp_path, run_document, database):
    whole_run(journal, run_document(), tmp_path)
    sync(database)
    before = content(database, journal.key)
    sizes = {name: database[name].count_documents({}) for name in database.list_collection_names()}
    assert sync(database).sent == {}
    assert sync(database, runs=[journal.directory.parent]).sent == {journal.key: 1}, "asked for by name"
    assert content(database, journal.key) == before
    assert {name: database[name].count_documents({}) for name in database.list_collection_names()} == sizes
    assert len((journal.directory / "rejected.jsonl").read_text().splitlines()) == 1


def test_a_killed_training_is_sent_and_closed_as_interrupted(tmp_path, database):
    command = [sys.executable, "-c", TRAINING, str(tmp_path / "runs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        while int(child.stdout.readline()) < 120:
            pass
        (run_dir,) = (tmp_path / "runs").iterdir()
        running = sync(database)
        assert running.running == [run_dir.name]
        assert running.sent == {}
        assert database["runs"].find_one({})["status"] == "RUNNING"
        child.send_signal(signal.SIGKILL)
        written = max(int(line) for line in child.stdout if line.endswith("\n"))
    report = sync(database)
    assert report.interrupted == [run_dir.name]
    assert report.sent == {run_dir.name: 1}
    run = database["runs"].find_one({})
    assert run["status"] == "INTERRUPTED"
    assert run["stop_time"] == run["heartbeat"]
    steps = database["metrics"].find_one({"run_id": 1})["steps"]
    assert len(steps) >= min(written, 2000)
    assert steps == sorted(set(steps))
    assert run["info"]["step"] >= 100
    assert str(sync(database)) == "nothing to send"


def test_a_half_sent_run_is_completed(journal, tmp_path, run_document, database, mongo_url):
    whole_run(journal, run_document(), tmp_path)
    expected = Journal.create(tmp_path / "other")
    whole_run(expected, run_document(), tmp_path)
    records = (journal.directory / FILE_NAME).read_bytes().splitlines(keepends=True)
    for cut in (1, 2, 3, 40, 150, len(records) - 1):
        (journal.directory / FILE_NAME).write_bytes(b"".join(records[:cut]))
        sync(database)
    (journal.directory / FILE_NAME).write_bytes(b"".join(records))
    assert list(sync(database).sent) == [journal.key]
    assert content(database, journal.key) == content(database, expected.key)
    assert database["runs"].count_documents({}) == 2
    expected.close()


def test_runs_of_other_machines_are_sent_but_left_open(journal, run_document, database, home):
    owner = {"host": "elsewhere", "pid": 1, "pid_started": 0.0}
    journal.append("start", document=run_document(ostinato=owner), sources=[])
    report = sync(database)
    assert report.elsewhere == [journal.key]
    assert database["runs"].find_one({})["status"] == "RUNNING"
    assert (home / "pending" / f"{journal.key}.json").exists()
    assert run_state(journal.directory) == "elsewhere"


def test_a_pid_that_was_given_to_another_process_is_gone(journal, run_document):
    owner = {"host": run_document()["ostinato"]["host"], "pid": os.getpid(), "pid_started": 5.0}
    journal.append("start", document=run_document(ostinato=owner), sources=[])
    assert run_state(journal.directory) == "stale"
    journal.append("segment", commit=None, started=1.0, **run_document()["ostinato"])
    assert run_state(journal.directory) == "running"


def test_deleted_runs_and_empty_journals_are_forgotten(journal, tmp_path, database, home):
    other = Journal.create(tmp_path / "runs")
    shutil.rmtree(other.directory)
    assert sync(database).gone == []  # noticed, and its pointer removed, when stale runs were looked for
    assert not (home / "pending" / f"{other.key}.json").exists()
    assert (home / "pending" / f"{journal.key}.json").exists()
    os.utime(journal.directory / FILE_NAME, (1.0, 1.0))
    sync(database)
    assert not (home / "pending" / f"{journal.key}.json").exists()
    assert database["runs"].count_documents({}) == 0
    other.close()


def test_a_run_that_cannot_be_seen_just_now_is_not_forgotten(journal, database, home, monkeypatch):
    seen = Path.is_file

    def refuse(path):
        if path.name == FILE_NAME:
            raise PermissionError(13, "Permission denied", str(path))
        return seen(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    assert "Permission denied" in sync(database).failed[journal.key]
    assert (home / "pending" / f"{journal.key}.json").exists()


def test_a_worker_that_outlives_a_sync_does_not_keep_the_next_one_from_a_run(
    journal, run_document, database, monkeypatch
):
    journal.append("start", document=run_document(), sources=[])
    workers = []

    def fork_and_send(*arguments, **options) -> None:
        if (child := os.fork()) == 0:
            signal.pause()
            os._exit(0)
        workers.append(child)
        send(*arguments, **options)

    monkeypatch.setattr("experiments.tracking.sync.send", fork_and_send)

    try:
        for _ in range(2):
            assert sync(database).failed == {}
    finally:
        for child in workers:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_a_database_that_does_not_answer_is_one_line(journal, run_document):
    journal.append("start", document=run_document(), sources=[])
    nowhere = MongoClient("mongodb://me:hemiola99@127.0.0.1:1", serverSelectionTimeoutMS=50)["x"]
    with pytest.raises(UserError, match="run sync again") as error:
        sync(nowhere)
    assert "hemiola" not in str(error.value)


def test_the_next_start_closes_and_sends_what_was_left(journal, run_document, database, mongo_url, home, tmp_path):
    owner = run_document()["ostinato"] | {"pid_started": 5.0}
    journal.append("start", document=run_document(ostinato=owner), sources=[])
    running = Journal.create(tmp_path / "runs")
    running.append("start", document=run_document(), sources=[])
    sweep(lambda: MongoClient(mongo_url)[database.name]).join(240)
    run = database["runs"].find_one({})
    assert (run["ostinato"]["key"], run["status"]) == (journal.key, "INTERRUPTED")
    assert database["runs"].count_documents({}) == 1
    assert [path.stem for path in (home / "pending").glob("*.json")] == [running.key]
    assert list(read(running.directory))[-1]["kind"] == "start"
    assert close_stale() == []
    running.close()


def test_a_second_sync_leaves_a_run_to_the_first(journal, run_document, database, home):
    import fcntl

    journal.append("start", document=run_document(), sources=[])
    with open(home / "pending" / f"{journal.key}.json") as pointer:
        fcntl.flock(pointer, fcntl.LOCK_EX)
        assert journal.key in sync(database).failed
    assert sync(database).failed == {}
