"""What a journal holds arrives in the database exactly once, whatever happens to either of them."""

from __future__ import annotations

import hashlib
import json
import threading
import time

import numpy as np
import pyarrow.parquet
import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from experiments.tracking import artifacts
from experiments.tracking.apply import RunCopy
from experiments.tracking.database import prepare
from experiments.tracking.finish import log_ends
from experiments.tracking.journal import Journal, read
from experiments.tracking.run_document import next_child_numbers, next_number
from experiments.tracking.uploader import Uploader, Waits

QUICK = Waits(poll=0.02, first=0.05, longest=0.3, draining=0.2, restart=0.5, repeat=2.0)


@pytest.fixture
def started(journal, run_document):
    """A journal with its start record."""
    journal.append("start", document=run_document(), sources=[])
    return journal


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def end(journal: Journal, result: object = None) -> None:
    journal.append("end", status="COMPLETED", stop_time=time.time(), result=result, fail_trace=None)


def upload(journal: Journal, database, seconds: float = 120, **options) -> dict:
    """Send a journal by a thread of its own and return the run document."""
    options.setdefault("connect", lambda: MongoClient(database.client.address_url)[database.name])
    uploader = Uploader(journal.directory, waits=QUICK, backlog=journal.backlog, **options)
    uploader.start()
    assert uploader.drain(seconds) == 0
    return database["runs"].find_one({"ostinato.key": journal.key})


@pytest.fixture
def database(database, mongo_url):
    database.client.address_url = mongo_url
    return database


def series(database, run: dict, name: str) -> tuple[list, list]:
    found = database["metrics"].find_one({"run_id": run["_id"], "name": name})
    return found["steps"], found["values"]


def test_a_run_arrives_whole(started, database, tmp_path):
    (started.directory / "run.log").write_text("hello\nworld\n")
    for step in range(10):
        started.append("metrics", name="val/loss", points=[[step, 1.0 / (1 + step), 100.0 + step]])
    picture = tmp_path / "curve.png"
    picture.write_bytes(b"picture")
    started.add_file(picture)
    started.append("info", set={"info.best": {"epoch": 3}})
    started.append("beat", set={"result": {"val/map": 0.5}, "info.delta": {"a": 1}})
    end(started, {"val/map": 0.75})
    run = upload(started, database)
    assert run["_id"] == 1
    assert run["status"] == "COMPLETED"
    assert run["heartbeat"] == run["stop_time"]
    assert run["result"] == {"val/map": 0.75}
    assert run["info"]["best"] == {"epoch": 3}
    assert run["info"]["delta"] == {"a": 1}
    assert run["captured_out"] == "hello\nworld\n"
    assert run["config"] == {"model": {"arch": "small"}, "seed": 1}
    assert series(database, run, "val/loss") == (list(range(10)), [1.0 / (1 + step) for step in range(10)])
    (listed,) = run["info"]["metrics"]
    assert listed == {"name": "val/loss", "id": str(database["metrics"].find_one({})["_id"])}
    contents = {entry["name"]: artifacts.get(database, entry["file_id"]) for entry in run["artifacts"]}
    assert set(contents) == {"curve.png", "metrics.parquet", "run.log"}
    assert contents["curve.png"] == b"picture"
    assert contents["run.log"] == b"hello\nworld\n"
    assert database["omniboard.custom.columns"].count_documents({}) > 0


def test_a_run_is_visible_while_it_goes_on(started, database, eventually):
    uploader = Uploader(started.directory, lambda: MongoClient(database.client.address_url)[database.name], waits=QUICK)
    uploader.start()
    assert uploader.wait_for_number(120) == 1
    for count in (1, 2, 3):
        started.append("metrics", name="loss", points=[[count, 0.5, 1.0]])
        eventually(lambda c=count: len((database["metrics"].find_one({}) or {"steps": []})["steps"]) == c)
    before = database["runs"].find_one({})["heartbeat"]
    started.append("beat", set={})
    eventually(lambda: database["runs"].find_one({})["heartbeat"] > before)
    assert uploader.drain(120) == 0
    assert database["runs"].find_one({})["status"] == "RUNNING"


def test_a_checkpoint_that_the_next_one_replaces_while_it_is_stored_is_no_failure(
    started, database, monkeypatch, caplog
):
    path, hashed = started.directory / "last.ckpt", artifacts.sha256
    path.write_bytes(b"first")
    started.append("checkpoint", name="last.ckpt", path="last.ckpt", bytes=5, epoch=0, step=1)
    started.append("checkpoint", name="last.ckpt", path="last.ckpt", bytes=6, epoch=0, step=2)

    def replaced_once(file):
        digest = hashed(file)
        path.write_bytes(b"second")
        return digest

    monkeypatch.setattr(artifacts, "sha256", replaced_once)
    copy = RunCopy(started.directory)
    copy.attach(database)
    for record in read(started.directory):
        copy.apply(record)
    copy.flush()
    run = database["runs"].find_one({})
    assert not caplog.records
    assert copy.rejected == 0
    assert [(one["step"], one["sha256"]) for one in run["info"]["checkpoints"]] == [(2, sha256(path))]
    assert [artifacts.get(database, entry["file_id"]) for entry in run["artifacts"]] == [b"second"]


@pytest.mark.parametrize("_", range(3))
def test_every_record_may_be_applied_again_and_late(started, database, _):
    """Any interleaving of repetitions gives the documents of one straight pass (the laws of idempotence)."""
    random = np.random.default_rng(_)
    for step in range(40):
        started.append("metrics", name=f"s{step % 3}", points=[[step, float(step), 1.0], [step + 0.5, 0.0, 1.0]])
        if step % 7 == 0:
            started.append("info", set={"info.step": step})
            started.append("beat", set={"result": {"at": step}})
    end(started, {"at": "end"})
    records = list(read(started.directory))
    copies = []
    while not copies or not copies[0].done:
        if not copies or random.random() < 0.3:  # a new process, or a new connection, starts over
            copies.insert(0, RunCopy(started.directory))
            copies[0].attach(database)
            position = 0
        if random.random() < 0.2:
            copies[0].attach(database)
            position = max(0, position - int(random.integers(0, 9)))
        for record in records[position : position + int(random.integers(1, 60))]:
            copies[0].apply(record)
            position += 1
        copies[int(random.integers(0, len(copies)))].flush()
    for copy in copies:
        copy.flush()
    run = database["runs"].find_one({})
    assert database["runs"].count_documents({}) == 1
    assert (run["result"], run["info"]["step"], run["status"]) == ({"at": "end"}, 35, "COMPLETED")
    for n in range(3):
        expected = [value for step in range(n, 40, 3) for value in (step, step + 0.5)]
        assert series(database, run, f"s{n}")[0] == expected


def test_an_answer_that_is_lost_does_not_double_a_point(started, database, monkeypatch, eventually):
    """The server does what it was told, but the client hears of a broken connection: as a frozen server looks."""
    from pymongo.collection import Collection

    real, lost = Collection.bulk_write, []

    def bulk_write(self, operations, **options):
        result = real(self, operations, **options)
        if len(lost) < 3:
            lost.append(1)
            raise AutoReconnect("connection closed")
        return result

    monkeypatch.setattr(Collection, "bulk_write", bulk_write)
    uploader = Uploader(started.directory, lambda: MongoClient(database.client.address_url)[database.name], waits=QUICK)
    uploader.start()
    for step in range(200):
        started.append("metrics", name="loss", points=[[step, 0.5, 1.0]])
        eventually(lambda s=step: len(lost) >= min(s // 50, 3))
    end(started)
    assert uploader.drain(120) == 0
    assert len(lost) == 3
    assert series(database, database["runs"].find_one({}), "loss")[0] == list(range(200))


def test_numbers_are_distinct_integers_above_all_there_are(database):
    database["runs"].insert_many([{"_id": 41}, {"_id": "500"}, {"_id": 42.0}, {"_id": -2}])
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(next_number(database))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(43, 59))
    assert list(next_child_numbers(database, 3)) == [-3, -4, -5]
    assert list(next_child_numbers(database, 2)) == [-6, -7]
    database["runs"].delete_many({"_id": {"$gt": 0}})
    assert next_number(database) == 59


def test_the_first_numbers(database):
    assert list(next_child_numbers(database, 2)) == [-1, -2]
    database["runs"].insert_many([{"_id": -1}, {"_id": -2}])
    assert next_number(database) == 1


def test_one_bad_record_does_not_stop_the_next(started, database, caplog):
    started.append("info", set={"info.a": 1})
    started.append("info", set={"info.a.b": 2})  # the server refuses: a is a number
    started.append("info", set={"info.": 2})
    started.append("strange", x=1)
    started.append("beat", set={"omniboard.tags": ["mine"], "info.metrics": [], "config.lr": 3, "info.good": 1})
    started.append("artifact", name="lost.png", file="files/lost.png", bytes=3)
    started.add_file("nowhere.png")
    started.append("metrics", name="loss", points=[[0, 0.5, 1.0]])
    end(started, {"x": 1})
    run = upload(started, database)
    assert run["status"] == "COMPLETED"
    assert run["info"]["a"] == 1
    assert run["info"]["good"] == 1
    assert run["omniboard"] == {"tags": ["test"]}
    assert series(database, run, "loss") == ([0], [0.5])
    refused = [json.loads(line) for line in (started.directory / "rejected.jsonl").read_text().splitlines()]
    assert [record["seq"] for record in refused] == [3, 4, 5, 7]
    assert run["info"]["tracking"]["rejected"] == 4
    assert {"info 3", "strange 5", "artifact lost,png", "omniboard,tags", "config,lr", "artifact,nowhere,png"} <= set(
        run["info"]["tracking"]["changed"]
    )


def test_nasty_values_everywhere_end_completed_and_named(journal, run_document, database, nasty):
    document = run_document(config={name: value for name, (value, _) in nasty.items()} | {"f": lambda: 0})
    journal.append("start", document=document, sources=[])
    for name, (value, _) in nasty.items():
        journal.append("metrics", name=f"m/{name}", points=[[0, value, 1.0], [value, 0.5, 1.0], [1, 0.25, 1.0]])
        journal.append("info", set={f"info.{name}": value})
    journal.append("metrics", name="m/after", points=[[0, 1.0, 1.0]])
    end(journal, {name: value for name, (value, _) in nasty.items()})
    run = upload(journal, database)
    assert run["status"] == "COMPLETED"
    assert series(database, run, "m/after") == ([0], [1.0])
    named = run["info"]["tracking"]["changed"]
    for name in set(nasty) - {"half a surrogate"}:
        assert any(path.startswith((f"m/{name}", f"info,{name}", f"config,{name}")) for path in named), name
    assert all(np.isfinite(value) for doc in database["metrics"].find() for value in doc["values"])


def test_much_of_everything(started, database, tmp_path):
    """400,000 points in one series, 20 MB of output and 20 MB of information make a small document."""
    for first in range(0, 400_000, 500):
        points = [[step, float((step - 123_456) ** 2), 1.0] for step in range(first, first + 500)]
        started.append("metrics", name="loss", points=points)
    for n in range(20):
        started.append("info", set={f"info.part{n}": ["x" * 50_000] * 20})
    started.append("info", set={"info.all": ["y" * 50_000] * 400})
    line = "é" * 99 + "\n"
    (started.directory / "run.log").write_text(line * 100_000)
    end(started, {"x": 1})
    run = upload(started, database)
    assert run["status"] == "COMPLETED"
    assert run["result"] == {"x": 1}
    (size,) = database["runs"].aggregate([{"$project": {"size": {"$bsonSize": "$$ROOT"}}}])
    assert size["size"] < 4 * 2**20
    steps, values = series(database, run, "loss")
    assert len(steps) <= 5000
    assert {0, 123_456, 399_999} <= set(steps)
    assert min(values) == 0
    assert any("left out" in what for what in run["info"]["tracking"]["changed"].values())
    stored = {entry["name"]: entry["file_id"] for entry in run["artifacts"]}
    (tmp_path / "m.parquet").write_bytes(artifacts.get(database, stored["metrics.parquet"]))
    table = pyarrow.parquet.read_table(tmp_path / "m.parquet")
    assert table.num_rows == 400_000
    assert table["step"].to_numpy().tolist() == list(range(400_000))
    assert database["fs.files"].find_one({"_id": stored["run.log"]})["length"] == 19_900_000
    text = run["captured_out"]
    assert "bytes left out here" in text
    assert {part for part in text.splitlines() if "left out" not in part} == {line.strip()}
    assert len(text.encode()) < 257 * 1024


def test_the_ends_of_a_log_without_lines(tmp_path):
    log = tmp_path / "run.log"
    log.write_bytes(b"x" * 400_000)
    assert 250_000 < len(log_ends(tmp_path)) < 270_000
    log.write_bytes("é".encode() * 10 + b"\xc3")
    assert log_ends(tmp_path) == "é" * 10 + "\ufffd"


def test_content_is_stored_once_and_replaced_by_name(journal, run_document, database, tmp_path, home):
    source = journal.directory / "files" / "model.py"
    source.write_text("code")
    sources = [{"path": "models/model.py", "sha256": sha256(source), "file": "files/model.py"}]
    first = journal
    second = Journal.create(tmp_path / "runs")
    (second.directory / "files" / "model.py").write_text("code")
    picture = tmp_path / "p.png"
    for run in (first, second):
        run.append("start", document=run_document(), sources=sources)
        picture.write_bytes(b"shared")
        run.add_file(picture)
        upload(run, database)
    assert database["fs.files"].count_documents({}) == 2
    size = database.command("collStats", "fs.chunks")["count"]
    picture.write_bytes(b"new")
    for count, run in ((3, first), (2, second)):  # the shared one goes when nobody names it any more
        run.add_file(picture)
        end(run)
        document = upload(run, database)
        (entry,) = document["artifacts"]
        assert artifacts.get(database, entry["file_id"]) == b"new"
        assert database["fs.files"].count_documents({}) == count
    assert size == 2
    assert document["experiment"]["sources"] == [["models/model.py", artifacts.file_id(sources[0]["sha256"])]]
    assert artifacts.get(database, document["experiment"]["sources"][0][1]) == b"code"
    second.close()


def test_checkpoints_are_registered_and_small_ones_stored(started, database):
    folder = started.directory / "checkpoints"
    folder.mkdir()
    for name, size, best in (("a.ckpt", 100, True), ("b.ckpt", 3000, True), ("gone.ckpt", 10, False)):
        (folder / name).write_bytes(name.encode() * (size // len(name)))
        fields = {"path": f"checkpoints/{name}", "bytes": size, "epoch": 1, "step": 10, "score": 0.5, "best": best}
        started.append("checkpoint", name=name, **fields)
    (folder / "gone.ckpt").unlink()
    end(started)
    run = upload(started, database, upload_limit_mb=0.001)
    first, second, third = run["info"]["checkpoints"]
    assert [entry["best"] for entry in (first, second, third)] == [False, True, False]
    assert [entry["last"] for entry in (first, second, third)] == [False, False, True]
    assert first["sha256"] == sha256(folder / "a.ckpt")
    assert second["sha256"] == sha256(folder / "b.ckpt")
    assert third["sha256"] is None
    names = {entry["name"]: entry["file_id"] for entry in run["artifacts"]}
    assert set(names) == {"a.ckpt", "checkpoints.json"}
    assert json.loads(artifacts.get(database, names["checkpoints.json"])) == run["info"]["checkpoints"]


def test_a_heartbeat_looks_at_its_own_series_among_many(started, database):
    prepare(database)
    keys = {tuple(index["key"]): index.get("unique", False) for index in database["metrics"].list_indexes()}
    assert keys[("run_id", "name")]
    assert {tuple(index["key"]) for index in database["runs"].list_indexes()} >= {("ostinato.key",)}
    for run in range(100, 140):
        many = [{"run_id": run, "name": f"s{n}", "steps": [0], "values": [0.0], "seq": 1} for n in range(1000)]
        database["metrics"].insert_many(many, ordered=False)
    copy = RunCopy(started.directory)
    copy.attach(database)
    for n in range(40):
        started.append("metrics", name=f"s{n}", points=[[0, 0.5, 1.0]])
    for record in [*read(started.directory)]:
        copy.apply(record)
    copy.flush()
    last = started.append("beat", set={})
    for n in range(40):
        started.append("metrics", name=f"s{n}", points=[[last, 0.5, 1.0]])
    database.command("profile", 2)
    for record in read(started.directory, last - 1):
        copy.apply(record)
    copy.flush()
    database.command("profile", 0)
    mine = [entry for entry in database["system.profile"].find() if not entry["ns"].endswith("system.profile")]
    assert {entry["ns"].split(".")[1] for entry in mine} >= {"runs", "metrics"}
    assert sum(entry.get("docsExamined", 0) for entry in mine) < 500, "of 40,040 series"


def test_a_start_that_is_refused_still_makes_a_run(journal, run_document, database):
    journal.append("start", document=run_document(), sources=[{"path": "a.py"}])  # no hash: not a source record
    journal.append("metrics", name="loss", points=[[0, 0.5, 1.0]])
    end(journal, {"x": 1})
    run = upload(journal, database)
    assert (run["status"], run["result"]) == ("COMPLETED", {"x": 1})
    assert run["info"]["tracking"]["rejected"] == 1
    assert series(database, run, "loss") == ([0], [0.5])


def test_what_a_full_disk_keeps_in_memory_is_sent_all_the_same(started, database):
    waiting = [{"seq": 2, "time": 1.0, "kind": "metrics", "name": "loss", "points": [[0, 0.5, 1.0]]}]
    uploader = Uploader(
        started.directory,
        lambda: MongoClient(database.client.address_url)[database.name],
        waits=QUICK,
        backlog=lambda: waiting,
    )
    uploader.start()
    assert uploader.drain(120) == 0
    assert series(database, database["runs"].find_one({}), "loss") == ([0], [0.5])


def test_a_database_that_never_answers_holds_up_nothing_and_is_filled_later(started, database):
    """Asked from the start, never there: the journal waits, and one sync later everything is in its place."""
    from experiments.tracking.sync import sync

    asked, given_up, over = threading.Event(), threading.Event(), threading.Event()

    def nowhere():
        asked.set()
        over.wait()
        given_up.set()
        raise AutoReconnect("no answer")

    uploader = Uploader(started.directory, nowhere, waits=QUICK)
    uploader.start()
    assert asked.wait(120)
    for step in range(500):
        started.append("metrics", name="loss", points=[[step, 0.5, 1.0]])
    end(started)
    assert uploader.drain(1.0) == 502
    assert not given_up.is_set()
    assert uploader.run_id is None
    over.set()
    assert list(sync(database).sent) == [started.key]
    assert series(database, database["runs"].find_one({}), "loss")[0] == list(range(500))


def test_a_server_that_appears_later_gets_everything(started, database, mongo_url, tmp_path, eventually):
    there = threading.Event()

    def connect():
        missing = "mongodb://127.0.0.1:1"
        return MongoClient(mongo_url if there.is_set() else missing, serverSelectionTimeoutMS=100)[database.name]

    uploader = Uploader(started.directory, connect, waits=QUICK)
    uploader.start()
    started.append("metrics", name="loss", points=[[0, 0.5, 1.0]])
    eventually(lambda: uploader._gone_since is not None)
    there.set()
    end(started)
    assert uploader.drain(120) == 0
    assert database["runs"].find_one({})["status"] == "COMPLETED"


def test_a_database_that_was_emptied_gets_the_run_again(started, database):
    uploader = Uploader(started.directory, lambda: MongoClient(database.client.address_url)[database.name], waits=QUICK)
    uploader.start()
    started.append("metrics", name="loss", points=[[0, 0.5, 1.0]])
    uploader.wait_for_number(120)
    database.client.drop_database(database.name)
    uploader._attached = False
    started.append("metrics", name="loss", points=[[1, 0.5, 1.0]])
    end(started)
    assert uploader.drain(120) == 0
    assert series(database, database["runs"].find_one({}), "loss")[0] == [0, 1]
