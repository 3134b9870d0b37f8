"""A run that goes on: which one, in whose journal, and with every point once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from datasets.file_locks import close_lock
from experiments.errors import UserError
from experiments.tracking import liveness, resuming, sync
from experiments.tracking.apply import RunCopy
from experiments.tracking.finish import write_metrics
from experiments.tracking.journal import FILE_NAME, Journal, damage, read, read_points
from experiments.tracking.liveness import is_locked, lock_run

GONE = 2**22 + 1  # no process has this number


@pytest.fixture
def left(home, tmp_path, run_document):
    """Leaves an earlier run: how it ended (None: killed), whether with a checkpoint, and on which machine."""

    def leave(key: str, status: str | None = None, checkpoint: bool = True, **owner) -> Path:
        journal = Journal.create(tmp_path / "runs", key)
        document = run_document()
        document["ostinato"] |= {"pid": GONE, **owner}
        journal.append("start", document=document, sources=[])
        if checkpoint:
            (journal.directory / "last.ckpt").write_bytes(b"weights")
            journal.append("checkpoint", name="last.ckpt", path="last.ckpt", bytes=7, epoch=0, step=2)
        if status:
            journal.append("end", status=status, stop_time=1.0, result=None, fail_trace=None)
        journal.close()
        return journal.directory

    return leave


def series(run_dir: Path) -> dict[str, list]:
    """The points that count, by name."""
    found: dict[str, list] = {}
    for record in read_points(run_dir):
        found.setdefault(record["name"], []).extend(point[:2] for point in record["points"])
    return found


def test_the_newest_run_with_a_checkpoint_goes_on(left):
    runs = [left("1", "FAILED"), left("2"), left("3", checkpoint=False)]
    choice = resuming.choose(runs)
    assert choice.origin == runs[1]
    assert is_locked(runs[1])
    close_lock(choice.lock)
    assert not is_locked(runs[1])


def test_without_any_checkpoint_the_newest_run_begins_again_in_its_own_record(left):
    runs = [left("1", "INTERRUPTED", checkpoint=False), left("2", checkpoint=False)]
    choice = resuming.choose(runs)
    assert choice.origin == runs[1]
    close_lock(choice.lock)


def test_a_finished_run_is_not_gone_on_with_and_nothing_before_it(left):
    runs = [left("1", "INTERRUPTED"), left("2", "COMPLETED")]
    choice = resuming.choose(runs)
    assert choice.origin is None
    assert choice.reason == "the newest run with the same settings, 2, is finished"
    assert resuming.choose([]).reason == "no run with the same settings was interrupted"


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_living_run_is_named(left, checkpoint):
    alive = left("1", checkpoint=checkpoint, pid=os.getpid())
    with pytest.raises(UserError, match=rf"run 1 with the same settings is still running \(process {os.getpid()} on"):
        resuming.choose([alive])


def test_a_run_of_another_machine_lives_by_its_lock_or_its_signs(left, monkeypatch, capsys):
    far = left("1", host="far")
    lock = lock_run(far)
    assert lock is not None
    with pytest.raises(UserError, match=r"process .* on far"):
        resuming.choose([far])
    close_lock(lock)
    monkeypatch.setattr(resuming, "LOOKS", 0.01)
    beat = threading.Timer(0.05, lambda: os.utime(far / FILE_NAME))
    beat.start()
    with pytest.raises(UserError, match="still running"):
        resuming.choose([far])
    beat.join()
    assert "it is taken for dead in 1" in capsys.readouterr().err
    monkeypatch.setattr(liveness, "SILENT", 0.05)
    choice = resuming.choose([far])
    assert choice.origin == far
    close_lock(choice.lock)


def test_a_damaged_journal_is_linked_to(left):
    folder = left("1")
    assert damage(folder) is None
    with open(folder / FILE_NAME, "ab") as file:
        file.write(b'{"seq": 9, "torn')
    assert damage(folder) is None
    lines = (folder / FILE_NAME).read_bytes().splitlines(keepends=True)
    for broken, said in (
        ([lines[0], b"\0\0\0\n", lines[1]], "line 2 is no record"),
        ([lines[0], lines[1], lines[1]], "line 3 repeats the record 2"),
        (lines[1:2], "does not begin with a start"),
    ):
        (folder / FILE_NAME).write_bytes(b"".join(broken))
        assert said in damage(folder)
    (folder / FILE_NAME).write_bytes(lines[0] + b"\0\0\0\n" + lines[1])
    choice = resuming.choose([folder])
    assert (choice.origin, choice.lock) == (folder, None)
    assert "is damaged: line 2 is no record" in choice.reason


def test_somebody_elses_folder_is_linked_to(left, monkeypatch):
    folder = left("1")
    monkeypatch.setattr(resuming, "os", SimpleNamespace(access=lambda path, mode: False, W_OK=os.W_OK))
    choice = resuming.choose([folder])
    assert (choice.origin, choice.lock) == (folder, None)
    assert "cannot be written to" in choice.reason


def test_a_lock_ends_with_its_process_not_with_a_worker_of_it(tmp_path, eventually):
    """The worker outlives the process that was killed; the lock does not."""
    code = """
import os, sys, time
from pathlib import Path
from experiments.tracking.liveness import lock_run
lock_run(Path(sys.argv[1]))
if os.fork() == 0:
    print(os.getpid(), flush=True)
time.sleep(60)
"""
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    worker = int(process.stdout.readline())
    try:
        assert is_locked(tmp_path)
        assert lock_run(tmp_path, seconds=0) is None
        process.kill()
        process.wait()
        eventually(lambda: not is_locked(tmp_path), seconds=5)
        os.kill(worker, 0)
    finally:
        os.kill(worker, 9)
        process.stdout.close()


def test_a_sweep_leaves_a_run_alone_that_goes_on(left):
    folder = left("1")
    with open(folder / liveness.LOCK_NAME, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert liveness.run_state(folder) == "running"
        assert sync.close_stale() == []
    assert sync.close_stale() == ["1"]
    assert liveness.end_of(folder)["status"] == "INTERRUPTED"
    journal = Journal.open(folder)
    journal.append("segment", started=time.time(), **liveness.this_process())
    journal.close()
    assert liveness.end_of(folder) is None
    assert liveness.run_state(folder) == "running"


def points(journal: Journal, name: str, steps: range, value: float = 0.0) -> None:
    for first in range(steps.start, steps.stop, 7):
        batch = range(first, min(first + 7, steps.stop))
        journal.append("metrics", name=name, points=[[step, value + step, 1.0] for step in batch])


@pytest.mark.parametrize("limit", [5000, 20])
def test_points_behind_the_checkpoint_are_taken_back_and_come_once(journal, run_document, database, limit, tmp_path):
    """However often the journal is sent and wherever the sending was cut; also of series that were thinned."""

    def send(cut: int | None = None) -> None:
        copy = RunCopy(journal.directory, max_points=limit)
        copy.attach(database)
        for record in read(journal.directory):
            if cut is None or record["seq"] <= cut:
                copy.apply(record)
        copy.flush()

    def stored(name: str) -> list:
        run = database["runs"].find_one({"ostinato.key": journal.key})
        found = database["metrics"].find_one({"run_id": run["_id"], "name": name})
        return list(zip(found["steps"], found["values"], strict=True))

    journal.append("start", document=run_document(), sources=[])
    journal.append("segment", started=1.0)
    points(journal, "train/loss", range(60))
    points(journal, "val/loss", range(50, 60))
    send()
    journal.append("end", status="FAILED", stop_time=2.0, result=None, fail_trace=["why"])
    journal.append("segment", started=3.0)
    cut = journal.append("rewind", step=41)
    send(cut)
    assert [step for step, _ in stored("train/loss")][-1] == 40
    assert stored("val/loss") == []
    points(journal, "train/loss", range(41, 80), 100.0)
    journal.append("rewind", step=70)
    points(journal, "train/loss", range(70, 75), 200.0)
    expected = [(s, float(s + 100 * (s > 40) + 100 * (s >= 70))) for s in range(75)]
    assert [tuple(point) for point in series(journal.directory)["train/loss"]] == expected
    for _ in range(2):
        send()
        kept = stored("train/loss")
        assert kept == [point for point in expected if point in kept]
        assert (kept[0], kept[-1]) == (expected[0], expected[-1])
        assert len(kept) == 75 if limit == 5000 else 10 <= len(kept) <= 20
    run = database["runs"].find_one({"ostinato.key": journal.key})
    assert (run["status"], run["stop_time"]) == ("RUNNING", None)
    assert "fail_trace" not in run
    assert [segment.get("status") for segment in run["info"]["segments"]] == ["FAILED", None]
    assert database["runs"].count_documents({}) == 1
    assert write_metrics(journal.directory, tmp_path / "metrics.parquet") == 75
