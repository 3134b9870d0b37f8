"""A Dask cluster of real processes: what the README's commands start, and what happens when one of them fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets.store import Store, StoreError
from preprocess import build_store, cluster
from preprocess.__main__ import main
from preprocess.cluster import ClusterError, connected

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[2]
PATIENCE = 240  # seconds, on a slow machine


@pytest.fixture
def many(tmp_path: Path, clips: list[Path], kick: Path) -> Path:
    """60 tracks of 10 s, two others, and a file that is none."""
    folder = tmp_path / "many"
    (folder / "album").mkdir(parents=True)
    shutil.copy(kick, folder / "000.mp3")
    for number in range(1, 60):
        (folder / f"{number:03d}.mp3").hardlink_to(folder / "000.mp3")
    shutil.copy(clips[2], folder / "album" / "first.ogg")
    shutil.copy(clips[5], folder / "second.ogg")
    (folder / "words.mp3").write_text("words " * 1000)
    return folder


def test_a_worker_is_killed_and_the_store_is_that_of_one_machine(many: Path, tmp_path: Path, dask_processes):
    address = dask_processes.scheduler()
    dask_processes.worker()  # with the nanny that it has by default
    killed = dask_processes.worker("--no-nanny")
    line = [sys.executable, "-m", "preprocess", str(many), str(tmp_path / "store"), "--scheduler", address, "--quiet"]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE
    while committed(tmp_path / "store") < 12:  # both have begun
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, dask_processes.log
    killed.kill()
    out, trouble = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, trouble
    assert "62 tracks written" in out
    assert "1 skipped" in out
    build_store(many, tmp_path / "one", jobs=1, progress=False)
    same(tmp_path / "store", tmp_path / "one")
    assert (tmp_path / "store" / "skipped.csv").read_text() == (tmp_path / "one" / "skipped.csv").read_text()


def same(store: Path, other: Path) -> None:
    one, two = Store(store), Store(other)
    assert one.ids == two.ids
    for id in one.ids:
        np.testing.assert_array_equal(one.read(id), two.read(id))
    about = [[{**row, "shard": "", "offset": 0} for row in each.table().to_pylist()] for each in (one, two)]
    assert about[0] == about[1]
    assert list((store / "parts").iterdir()) == []


def committed(store: Path) -> int:
    try:
        return len(Store(store))
    except StoreError:
        return 0


def test_one_thread_computes_and_not_this_process_and_others_may_join(
    many: Path, tmp_path: Path, dask_processes, monkeypatch
):
    dask_processes.scheduler()
    first = dask_processes.worker("--no-nanny")
    asked: list[int] = []

    def calls():
        for number in range(10**6):
            asked.append(number)
            yield (0.05,)

    with connected(dask_processes.address, "--scheduler", "preprocess.worker") as found:
        assert found.threads() == 1
        assert list(found.unordered(pid_after, [(0.0,), (0.0,)])) == [first.pid] * 2
        with pytest.raises(TimeoutError, match="the disk does not answer"):  # which is not this process's own waiting
            list(found.unordered(time_out, [()]))
        with monkeypatch.context() as here:
            here.setattr("preprocess.recipes.track_features", None)
            report = build_store(many, tmp_path / "store", ids=["000.mp3", "second.ogg"], progress=False, cluster=found)
        assert (report.written, report.skipped) == (2, [])
        results = found.unordered(pid_after, calls())
        assert next(results) == first.pid
        assert len(asked) <= cluster.AHEAD + 1, "few calls wait at a time"
        second = dask_processes.worker("--no-nanny")
        deadline = time.monotonic() + PATIENCE
        while next(results) != second.pid:
            assert time.monotonic() < deadline, dask_processes.log
        results.close()


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def time_out() -> None:
    raise TimeoutError("the disk does not answer")


def test_processes_without_the_project_are_told_of_before_anything_is_sent(
    many: Path, tmp_path: Path, dask_processes, capsys: pytest.CaptureFixture[str]
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    dask_processes.scheduler()
    dask_processes.worker(cwd=elsewhere)
    words = [str(many), str(tmp_path / "store"), "--scheduler", dask_processes.address, "--quiet"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"error: --scheduler={dask_processes.address}: the worker tcp://" in said
    assert "cannot import this project" in said
    assert "start it from the project's folder, with `python -m dask worker" in said
    assert not (tmp_path / "store").exists()


def test_a_worker_that_does_not_see_the_audio_is_told_of_and_no_file_is_left_out(corpus_of_two: Path, tmp_path: Path):
    class Elsewhere:
        """Stands for a cluster whose machine has no such folder."""

        def threads(self) -> int:
            return 1

        def unordered(self, function, calls):
            for call in calls:
                corpus_of_two.rename(tmp_path / "away")
                done = function(*call)
                (tmp_path / "away").rename(corpus_of_two)
                yield done

    with pytest.raises(ClusterError, match=r"song\.wav: the worker on .* does not see this file"):
        build_store(corpus_of_two, tmp_path / "store", progress=False, cluster=Elsewhere())
    assert not (tmp_path / "store" / "skipped.csv").exists()
    assert build_store(corpus_of_two, tmp_path / "store", jobs=1, progress=False).written == 2


@pytest.fixture
def corpus_of_two(write: Callable[..., Path]) -> Path:
    """Two files of noise."""
    write("two/another.wav", seconds=0.5)
    return write("two/song.wav").parent


def test_a_scheduler_without_the_project_is_told_of(tmp_path: Path, dask_processes):
    dask_processes.scheduler(cwd=tmp_path)
    with (
        pytest.raises(ClusterError, match=r"the scheduler cannot import this project .*python -m dask scheduler"),
        connected(dask_processes.address, "--scheduler", "preprocess.worker"),
    ):
        pass


def test_nobody_there_is_said_in_time(dask_processes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "ANSWER", 1.0)
    monkeypatch.setattr(cluster, "ARRIVAL", 3.0)
    for address, reason in (("tcp://127.0.0.1:1", "no Dask scheduler answers"), ("nonsense://x", "no Dask scheduler")):
        with (
            pytest.raises(ClusterError, match=rf"--scheduler={address}: {reason}.*python -m dask scheduler"),
            connected(address, "--scheduler", "preprocess.worker"),
        ):
            pass
    dask_processes.scheduler()
    with (
        pytest.raises(ClusterError, match="has been without a worker for 3 s; start it from"),
        connected(dask_processes.address, "--scheduler", "preprocess.worker"),
    ):
        pass


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_that_die_and_a_scheduler_that_ends_are_said_in_time(dask_processes, monkeypatch, eventually):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")  # 3 would take longer
    dask_processes.scheduler()
    dask_processes.worker("--no-nanny")
    with connected(dask_processes.address, "--scheduler", "preprocess.worker") as found:
        with pytest.raises(ClusterError, match="several workers died over one piece of work"):
            list(found.unordered(die, [()]))
        worker = dask_processes.worker("--no-nanny")
        sent = found.share(list(range(1000)))
        assert list(found.unordered(len, [(sent,)])) == [1000]
        worker.kill()
        worker.wait()
        dask_processes.worker("--no-nanny")
        assert list(found.unordered(len, [(sent,), (sent,)])) == [1000, 1000]  # sent again
        dask_processes.started[-1].kill()
        eventually(lambda: not found.threads())
        results = found.unordered(pid_after, [(600.0,)])
        with monkeypatch.context() as short:
            short.setattr(cluster, "ARRIVAL", 3.0)
            with pytest.raises(ClusterError, match="has been without a worker for 3 s"):
                next(results)
        worker = dask_processes.worker("--no-nanny")
        results = found.unordered(pid_after, [(0.0,), (600.0,)])
        assert next(results) == worker.pid
        dask_processes.started[0].kill()
        with pytest.raises(ClusterError, match="the scheduler no longer answers"):
            next(results)
