"""What a database once confirmed and then forgot, as a killed server may, is found at a run's end and by `sync`."""

from __future__ import annotations

import pytest
from bson import ObjectId
from pymongo import MongoClient, monitoring

from experiments.errors import UserError
from experiments.tracking import ChildRun, artifacts, files_copy
from experiments.tracking.apply import RunCopy
from experiments.tracking.database import journaled
from experiments.tracking.journal import Journal, read
from experiments.tracking.location import open_database
from experiments.tracking.run import Recorder
from experiments.tracking.server import EmbeddedServer
from experiments.tracking.sync import sync
from experiments.tracking.uploader import Uploader, Waits
from tests.experiments.tracking.test_sync import content, whole_run

QUICK = Waits(poll=0.02, first=0.05, longest=0.3, draining=0.2, restart=0.5)


def file_of(database, name: str) -> ObjectId:
    (entry,) = [one for one in database["runs"].find_one({"_id": 1})["artifacts"] if one["name"] == name]
    return entry["file_id"]


def forget_name(database) -> None:
    database["runs"].update_one({"_id": 1}, {"$pull": {"artifacts": {"name": {"$in": ["p.png", "large.bin"]}}}})


def forget_file(database) -> None:
    for name in ("p.png", "large.bin", "c.ckpt"):
        database["fs.files"].delete_one({"_id": file_of(database, name)})


def forget_chunk(database) -> None:
    database["fs.chunks"].delete_one({"files_id": file_of(database, "large.bin"), "n": 1})
    database["fs.chunks"].delete_many({"files_id": file_of(database, "p.png")})


def forget_source(database) -> None:
    ((_, source),) = database["runs"].find_one({"_id": 1})["experiment"]["sources"]
    database["fs.chunks"].delete_many({"files_id": source})


def old_content(database) -> None:
    """The name has come, but what it stands for now has not."""
    database["runs"].update_one(
        {"_id": 1, "artifacts.name": "p.png"}, {"$set": {"artifacts.$.file_id": file_of(database, "large.bin")}}
    )


def forget_series(database) -> None:
    database["metrics"].delete_one({"run_id": 1, "name": "s0"})


def forget_points(database) -> None:
    database["metrics"].update_one({"run_id": 1, "name": "s1"}, {"$pop": {"steps": 1, "values": 1, "timestamps": 1}})


def forget_list_of_series(database) -> None:
    database["runs"].update_one({"_id": 1}, {"$pull": {"info.metrics": {"name": "s2"}}})


def forget_information(database) -> None:
    database["runs"].update_one({"_id": 1}, {"$unset": {"info.a": "", "info.step": "", "info.checkpoints": ""}})


HOLES = [
    forget_name,
    forget_file,
    forget_chunk,
    forget_source,
    old_content,
    forget_series,
    forget_points,
    forget_list_of_series,
    forget_information,
]


@pytest.fixture
def losses_in(journal, run_document, database, tmp_path):
    """A run with a bit of everything that is in the database; gives what is stored."""
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 4096)
    whole_run(journal, run_document(), tmp_path, files=[tmp_path / "large.bin"])
    sync(database)
    return content(database, journal.key)


@pytest.mark.parametrize("loss", HOLES)
def test_sync_heals_what_a_database_lacks(loss, losses_in, journal, database):
    loss(database)
    assert sync(database).sent == {}, "its pointer is gone"
    assert sync(database, runs=[journal.directory]).sent == {journal.key: 1}
    assert content(database, journal.key) == losses_in
    assert not artifacts.incomplete(database, [one["file_id"] for one in database["runs"].find_one({})["artifacts"]])


def test_result_and_status_too(losses_in, journal, database):
    database["runs"].update_one({"_id": 1}, {"$set": {"status": "RUNNING", "result": {"at": 250}}})
    sync(database, runs=[journal.directory])
    healed = content(database, journal.key)
    assert healed["run"]["status"] == "COMPLETED"
    assert healed["run"]["result"] == {"x": 1.5}


def test_child_runs_too(journal, run_document, database):
    journal.append("start", document=run_document(), sources=[])
    points = {"loss": [(0, 0.5), (1, 0.25)]}
    runs = [ChildRun(f"p{n}", "probe", {"n": n}, {"x": n}, 5.0, metrics=points) for n in range(5)]
    Recorder(journal).add_child_runs(runs, "probes.jsonl")
    journal.append("end", status="COMPLETED", stop_time=2.0, result=None, fail_trace=None)
    sync(database)
    database["metrics"].delete_one({"run_id": -2})
    database["runs"].delete_one({"_id": -4})
    sync(database, runs=[journal.directory])
    assert database["runs"].count_documents({"ostinato.parent": 1}) == 5
    numbers = {one["_id"] for one in database["runs"].find({"ostinato.parent": 1})}
    assert {one["run_id"] for one in database["metrics"].find({})} >= numbers
    assert all(len(one["steps"]) == 2 for one in database["metrics"].find({}))


@pytest.mark.parametrize("loss", HOLES)
def test_a_run_heals_it_at_its_end(loss, journal, run_document, database, mongo_url, tmp_path, eventually):
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 4096)
    uploader = Uploader(journal.directory, lambda: open_database(mongo_url).client[database.name], waits=QUICK)
    uploader.start()
    last = whole_run(journal, run_document(), tmp_path, files=[tmp_path / "large.bin"], ended=False)
    eventually(lambda: uploader._safe >= last)
    loss(database)
    journal.append("end", time_=2000.0, status="COMPLETED", stop_time=2000.0, result={"x": 1.5}, fail_trace=None)
    assert uploader.drain(120) == 0
    healed = content(database, journal.key)
    other = Journal.create(tmp_path / "whole")
    whole_run(other, run_document(), tmp_path, files=[tmp_path / "large.bin"])
    sync(database)
    assert healed == content(database, other.key)
    other.close()


def test_every_write_is_confirmed_from_the_journal(database):
    assert journaled(database)["runs"].write_concern.document == {"j": True}
    majority = database.with_options(write_concern=database.write_concern.__class__(w="majority", wtimeout=5000))
    assert journaled(majority).write_concern.document == {"w": "majority", "wtimeout": 5000, "j": True}


def test_a_server_that_was_started_again_is_asked_what_it_holds(journal, run_document, home, eventually):
    """Between two batches, so that no exchange fails."""
    server = EmbeddedServer()
    server.acquire()
    try:
        uploader = Uploader(journal.directory, lambda: open_database(server.revive()), waits=QUICK)
        attached = []
        attach = uploader.copy.attach
        uploader.copy.attach = lambda database: (attached.append(1), attach(database))
        journal.append("start", document=run_document(), sources=[])
        uploader.start()
        eventually(lambda: uploader._safe == 1)
        first = uploader._server
        server._child.kill()
        server._child.wait()
        server.revive()
        journal.append("info", set={"info.a": 1})
        eventually(lambda: uploader._safe == 2)
        assert uploader._server != first
        assert len(attached) >= 2
        uploader.drain(60)
    finally:
        server.release()


class Counted(monitoring.CommandListener):
    """Counts the commands of a client."""

    def __init__(self):
        self.count = self.lists = 0

    def started(self, event):
        self.count += 1
        self.lists += "$push" in str(event.command.get("updates", ""))[:500]

    def succeeded(self, event): ...

    def failed(self, event): ...


def test_many_files_cost_as_much_each_as_few(journal, run_document, database, mongo_url):
    """The list in the run document is written anew for a part of itself, not for each file."""
    journal.append("start", document=run_document(), sources=[])
    for n in range(3000):
        (journal.directory / "files" / f"f{n}.txt").write_text(f"content {n}")
        journal.append("artifact", name=f"f{n}.txt", file=f"files/f{n}.txt", bytes=5)
    journal.append("end", status="COMPLETED", stop_time=2.0, result=None, fail_trace=None)
    counted = Counted()
    with MongoClient(mongo_url, event_listeners=[counted]) as client:
        copy = RunCopy(journal.directory)
        copy.attach(client[database.name])
        for record in read(journal.directory):
            copy.apply(record)
            if record["seq"] % 10 == 0:
                copy.flush(everything=False)
        copy.verify()
    listed = database["runs"].find_one({})["artifacts"]
    assert sorted(entry["name"] for entry in listed if entry["name"] != "metrics.parquet") == sorted(
        f"f{n}.txt" for n in range(3000)
    )
    assert counted.lists < files_copy.SHORT / 10 + 50, "300 times it was asked"
    assert not artifacts.incomplete(database, [entry["file_id"] for entry in listed])


def test_more_names_than_a_document_holds_are_said(journal, run_document, database, monkeypatch):
    monkeypatch.setattr(files_copy, "LIST_BYTES", 1000)
    journal.append("start", document=run_document(), sources=[])
    for n in range(30):
        (journal.directory / "files" / f"f{n:02}.txt").write_text(f"content {n}")
        journal.append("artifact", name=f"f{n:02}.txt", file=f"files/f{n:02}.txt", bytes=5)
    journal.append("end", status="COMPLETED", stop_time=2.0, result={"x": 1}, fail_trace=None)
    assert sync(database).sent == {journal.key: 1}
    run = database["runs"].find_one({})
    assert [entry["name"] for entry in run["artifacts"]] == [f"f{n:02}.txt" for n in range(14)]
    assert "no room for more" in run["info"]["tracking"]["changed"]["artifact artifacts"]
    assert run["result"] == {"x": 1}


@pytest.mark.parametrize("login", ["ostinato:wrong", "nobody:hemiola99"])
def test_a_wrong_password_is_not_a_database_that_does_not_answer(login, journal, run_document, tmp_path, caplog, home):
    server = EmbeddedServer(tmp_path / "tcp", listen="tcp")
    host = server.acquire().rpartition("@")[2]
    try:
        journal.append("start", document=run_document(), sources=[])
        database = open_database(f"mongodb://{login}@{host}")
        with pytest.raises(UserError, match="authentication failed: the database rejects this user name or password"):
            sync(database)
        uploader = Uploader(journal.directory, lambda: open_database(f"mongodb://{login}@{host}"), waits=QUICK)
        uploader.start()
        uploader.drain(1.0)
        assert "authentication failed" in caplog.text
        assert "does not answer" not in caplog.text
        assert "hemiola" not in caplog.text
    finally:
        database.client.close()
        server.release()
