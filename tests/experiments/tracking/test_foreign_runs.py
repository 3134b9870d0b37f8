"""`sync FOLDER` of runs that somebody else made: what they name outside of themselves is neither read nor written."""

from __future__ import annotations

import hashlib
import json
import os
import time

import pytest

from experiments.tracking.journal import FILE_NAME, read
from experiments.tracking.sync import sync

SECRET = b"-----BEGIN PRIVATE KEY-----"
KEY = "20300101-000000-abcdef"

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.timeout(60)]


@pytest.fixture
def key(tmp_path):
    """A file of mine, near the run."""
    path = tmp_path / "home_of_mine" / "id_rsa"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def foreign(tmp_path, key, run_document):
    """Writes a run's folder with these records between its start and its end."""

    def make(*records: dict, host: str = "elsewhere", ended: bool = True, **start):
        folder = tmp_path / "downloaded" / KEY
        (folder / "files").mkdir(parents=True, exist_ok=True)
        owner = {"host": host, "pid": 1, "pid_started": 5.0}
        lines = [{"kind": "start", "document": run_document(ostinato=owner), "sources": []} | start, *records]
        if ended:
            lines.append({"kind": "end", "status": "COMPLETED", "stop_time": 2.0, "result": {"x": 1}})
        text = "".join(json.dumps({"seq": n, "time": 1.0} | line) + "\n" for n, line in enumerate(lines, 1))
        (folder / FILE_NAME).write_text(text)
        return folder

    return make


def stored(database) -> bytes:
    """All contents in the database and all of its run documents."""
    chunks = [bytes(chunk["data"]) for chunk in database["fs.chunks"].find({})]
    return b"".join(chunks) + repr(list(database["runs"].find({}))).encode()


def artifact(path: str) -> dict:
    return {"kind": "artifact", "name": path.replace("/", "_"), "file": path, "bytes": 3}


def test_what_leads_out_is_named_and_counted_and_not_sent(foreign, key, database):
    digest = hashlib.sha256(SECRET).hexdigest()
    paths = [str(key), "../../home_of_mine/id_rsa", "link", "out/id_rsa", "pipe", "files"]
    folder = foreign(
        *(artifact(path) for path in paths),
        {"kind": "checkpoint", "name": "c.ckpt", "path": str(key), "bytes": 27, "epoch": 1, "step": 1, "best": True},
        {"kind": "checkpoint", "name": "d.ckpt", "path": "link", "bytes": 27, "epoch": 1, "step": 2, "best": True},
        {"kind": "children", "name": "runs.jsonl", "file": str(key), "bytes": 3},
        artifact("files/mine.txt"),
        {"kind": "beat", "set": {"info.a": 1}},
        sources=[{"path": "a.py", "file": str(key), "sha256": digest}],
    )
    (folder / "files" / "mine.txt").write_bytes(b"good")
    (folder / "link").symlink_to(key)
    (folder / "run.log").symlink_to(key)
    (folder / "out").symlink_to(key.parent)
    os.mkfifo(folder / "pipe")
    report = sync(database, runs=[folder.parent])
    assert report.sent == {KEY: 1}
    assert report.left_out == {KEY: sorted([*paths, "run.log"])}
    assert report.rejected == len(paths) + 1
    assert f"{KEY}: 7 skipped that are not regular files inside its folder" in str(report)
    assert SECRET not in stored(database)
    assert b"good" in stored(database)
    run = database["runs"].find_one({})
    assert (run["status"], run["result"], run["info"]["a"]) == ("COMPLETED", {"x": 1}, 1)
    assert [entry["name"] for entry in run["artifacts"] if entry["name"].endswith(".txt")] == ["files_mine.txt"]
    assert [entry["sha256"] for entry in run["info"]["checkpoints"]] == [None, None]
    assert key.read_bytes() == SECRET


@pytest.mark.parametrize("line", [b"{", b"5", b"[]", b'{"name": "a"}', b"[" * 100_000])
def test_child_runs_that_cannot_be_read_are_refused_and_the_rest_is_sent(foreign, database, line):
    folder = foreign({"kind": "children", "name": "runs.jsonl", "file": "files/runs.jsonl", "bytes": 3})
    (folder / "files" / "runs.jsonl").write_bytes(line + b"\n")
    for _ in range(2):
        report = sync(database, runs=[folder])
        assert (report.sent, report.failed) == ({KEY: 1}, {})
    assert database["runs"].find_one({"_id": 1})["status"] == "COMPLETED"


def test_nothing_is_written_through_a_link(foreign, key, database):
    folder = foreign({"kind": "metrics", "name": "loss", "points": [[0, 0.5, 1.0]]}, {"kind": "strange"})
    (folder / "files").rmdir()
    (folder / "files").symlink_to(key.parent)
    (folder / "rejected.jsonl").symlink_to(key)
    (folder / ".lock").symlink_to(key.parent / "made")
    report = sync(database, runs=[folder])
    assert report.sent == {KEY: 1}
    assert report.rejected == 1
    assert key.read_bytes() == SECRET
    assert list(key.parent.iterdir()) == [key]
    assert database["runs"].find_one({})["result"] == {"x": 1}


def test_pipes_in_the_place_of_our_own_files_hold_nothing_up(foreign, database):
    folder = foreign()
    for name in ("run.log", ".lock", "rejected.jsonl"):
        os.mkfifo(folder / name)
    began = time.monotonic()
    assert sync(database, runs=[folder]).sent == {KEY: 1}
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_journal_that_is_no_file_is_refused(kind, foreign, database, tmp_path, run_document, home):
    """A link to a run of mine would be closed, and cut, in its place."""
    folder = foreign(host=run_document()["ostinato"]["host"], ended=False)
    mine = tmp_path / "mine.jsonl"
    (folder / FILE_NAME).rename(mine)
    before = mine.read_bytes() + b'{"torn'
    mine.write_bytes(before)
    make = {"link": lambda path: path.symlink_to(mine), "pipe": os.mkfifo, "folder": os.mkdir}[kind]
    make(folder / FILE_NAME)
    report = sync(database, runs=[folder.parent])
    assert KEY in report.failed
    assert report.sent == {}
    assert mine.read_bytes() == before
    assert database["runs"].count_documents({}) == 0
    assert not list((home / "pending").glob("*"))


@pytest.mark.parametrize(
    "line",
    [
        '{"seq": 1, "kind": "start"}',
        '{"seq": 1, "kind": "start", "document": 5}',
        '{"seq": 1, "kind": "start", "document": {"ostinato": 7}}',
        '{"seq": 1, "kind": "start", "document": {"ostinato": {"host": 1}}, "sources": 5}',
        "[" * 100_000,
    ],
)
def test_a_journal_that_is_not_as_ours_are_fails_alone(line, foreign, database, journal, run_document):
    folder = foreign()
    (folder / FILE_NAME).write_text(f"{line}\n")
    journal.append("start", document=run_document(), sources=[])
    journal.append("end", status="COMPLETED", stop_time=2.0, result={"x": 1}, fail_trace=None)
    report = sync(database, runs=[folder])
    assert journal.key in report.sent
    assert KEY not in report.sent


def test_a_run_of_somebody_else_leaves_no_pointer(foreign, database, run_document, home):
    folder = foreign(host=run_document()["ostinato"]["host"], ended=False)
    report = sync(database, runs=[folder])
    assert report.interrupted == [KEY]
    assert report.sent == {KEY: 1}
    assert list(read(folder))[-1]["status"] == "INTERRUPTED"
    assert not list((home / "pending").glob("*"))
