"""A disk that is full at the end: what was never written is counted, the command fails, and one file is not the end."""

from __future__ import annotations

import errno
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from experiments.tracking import Experiment, artifacts, finish
from experiments.tracking.apply import RunCopy
from experiments.tracking.journal import FILE_NAME, read
from experiments.tracking.sync import sync

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("ex_tiny.py")


@pytest.fixture
def limited():
    """`limited(size)`: no file of this process may grow beyond so many bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def experiment(limited):
    """The tiny experiment, but from its last line on nothing can be written to the journal."""
    from tests.experiments.tracking.ex_tiny import NAMED, Tiny

    def main(settings, run):
        run.log_scalar("loss", 0.5, 0)
        run.flush()
        limited((run.directory / FILE_NAME).stat().st_size)
        run.log_scalar("loss", 0.25, 1)
        return {"x": 1}

    experiment = Experiment("ex_tiny", Tiny, NAMED)
    experiment.main(main)
    return experiment


def run_of(experiment, *words: str) -> int:
    with pytest.raises(SystemExit) as left:
        experiment.run_commandline([str(SCRIPT), "with", *words])
    return left.value.code


def test_an_end_that_was_never_written_is_a_failure_and_counted(experiment, home, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert run_of(experiment, "tracking.mongo=off") == 1
    said = capfd.readouterr().err
    (folder,) = tmp_path.glob("runs/2*")
    assert re.search(
        rf"error: the last \d records were never written to runs/{folder.name} \(File too large\); they are lost", said
    )
    assert [record["kind"] for record in read(folder)][-1] == "metrics"


def test_a_database_that_has_it_all_is_said(experiment, home, tmp_path, database, mongo_url, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTINATO_MONGO_URL", mongo_url.replace("/ostinato", f"/{database.name}"))
    assert run_of(experiment, "tracking.drain_seconds=60") == 1
    said = capfd.readouterr().err
    assert "records were never written to" in said
    assert "only the database has them" in said
    run = database["runs"].find_one({})
    assert (run["status"], run["result"]) == ("COMPLETED", {"x": 1})
    assert database["metrics"].find_one({"name": "loss"})["values"] == [0.5, 0.25]


def test_a_disk_that_is_really_full(home, tmp_path):
    """A small file system, mounted in a name space of the command's own; where that is forbidden, small files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    prepare, shell, why = f"mount -t tmpfs -o size=8m tmpfs {disk}", ["unshare", "-rm", "sh", "-c"], "No space left on"
    if subprocess.run([*shell, prepare], capture_output=True).returncode:
        prepare, shell, why = "ulimit -f 400", ["sh", "-c"], "File too large"
    command = f"{sys.executable} {SCRIPT} with end=fill tracking.mongo=off tracking.runs_dir={disk}/runs"
    done = subprocess.run(
        [*shell, f"{prepare} && {command}; echo code $?; tail -c 100 {disk}/runs/*/{FILE_NAME}"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "code 1" in done.stdout
    assert "never written to" in done.stderr
    assert f"({why}" in done.stderr
    assert "they are lost, and with them the end of the run" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.endswith("\n"), "no torn line is left"
    assert '"kind": "end"' not in done.stdout


def broken(kind: str, monkeypatch) -> None:
    """Let one of the files of the end fail."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if kind == "run.log":
        monkeypatch.setattr("experiments.tracking.apply.log_ends", full)
    if kind == "files":
        monkeypatch.setattr(finish, "_files", full)
    make_file = finish.make_file
    monkeypatch.setattr(
        "experiments.tracking.apply.make_file", lambda name, *rest: (full if name == kind else make_file)(name, *rest)
    )


@pytest.mark.parametrize("kind", ["metrics.parquet", "checkpoints.json", "run.log", "files"])
def test_no_file_rejects_the_end_and_a_sync_brings_it_later(kind, journal, run_document, database, monkeypatch, home):
    journal.append("start", document=run_document(), sources=[])
    (journal.directory / "run.log").write_text("hello\n")
    (journal.directory / "c.ckpt").write_bytes(b"weights")
    journal.append("checkpoint", name="c.ckpt", path="c.ckpt", bytes=7, epoch=1, step=1, score=0.5, best=True)
    journal.append("metrics", name="loss", points=[[0, 0.5, 1.0]])
    journal.append("end", status="COMPLETED", stop_time=2.0, result={"x": 1}, fail_trace=None)
    with monkeypatch.context() as patch:
        broken(kind, patch)
        copy = RunCopy(journal.directory)
        copy.attach(database)
        for record in read(journal.directory):
            copy.apply(record)
        copy.verify()
    run = database["runs"].find_one({})
    assert (copy.rejected, run["status"], run["result"]) == (0, "COMPLETED", {"x": 1})
    final = {"metrics.parquet", "checkpoints.json", "run.log"}
    missing = {"metrics.parquet", "checkpoints.json"} if kind == "files" else {kind}
    assert {entry["name"] for entry in run["artifacts"]} == (final - missing) | {"c.ckpt"}
    assert all(
        "No space left" in run["info"]["tracking"]["changed"][f"artifact {name.replace('.', ',')}"] for name in missing
    )
    assert sync(database).sent == {journal.key: 1}
    files = {entry["name"]: entry["file_id"] for entry in database["runs"].find_one({})["artifacts"]}
    assert final <= files.keys()
    (journal.directory / "got").write_bytes(artifacts.get(database, files["metrics.parquet"]))
    assert pyarrow.parquet.read_table(journal.directory / "got").num_rows == 1


def test_records_beyond_the_memory_are_counted(journal, limited, monkeypatch):
    import collections

    monkeypatch.setattr("experiments.tracking.journal.BACKLOG", 5)
    journal._backlog = collections.deque(maxlen=5)
    journal.append("metrics", name="loss", points=[[0, 0.5, 1.0]])
    limited((journal.directory / FILE_NAME).stat().st_size)
    for step in range(1, 9):
        journal.append("metrics", name="loss", points=[[step, 0.5, 1.0]])
    assert journal.unwritten() == (8, "File too large")
    limited(2**20)
    assert journal.unwritten() == (3, "")
