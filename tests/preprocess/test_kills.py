"""`kill -9` at random moments, and at the worst ones: whatever was killed, the same call ends with the same results."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from datasets.store import Store, StoreError
from preprocess import build_store, filling
from preprocess.renewal import drop_outdated

Write = Callable[..., Path]
PATIENCE = 240  # seconds


@pytest.fixture
def start() -> Iterator[Callable[..., BaseProcess]]:
    """Starts real processes that have everything imported already; none outlives the test."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preprocess.build", "preprocess.renewal"])
    started = []

    def begin(target: Callable, *arguments: object, **options: object) -> BaseProcess:
        process = context.Process(target=target, args=arguments, kwargs=options)
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.join(PATIENCE)


@pytest.fixture
def mixed(write: Write, tmp_path: Path) -> Path:
    """40 whole tracks, 3 that hold less than they promise, 4 that cannot be used."""
    folder = tmp_path / "mixed"
    for number in range(40):
        write(f"mixed/whole{number:02}.wav", 1 + number % 5 / 10)
    for number in range(3):
        cut = write(f"mixed/cut{number}.mp3", 6 + number, 44100)
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for number in range(4):
        (folder / f"bad{number}.wav").write_text("words " * (500 + number))
    return folder


def result(store: Path) -> dict[str, object]:
    """All that a run leaves, in a form that can be compared."""
    opened = Store(store)
    tables = {name: (store / name).read_text() for name in ("skipped.csv", "notes.csv")}
    rows = opened.table().drop_columns(["shard", "offset"]).to_pylist()
    sizes = sum(shard.stat().st_size for shard in (store / "shards").glob("*.npy"))
    names = sorted(file.name for file in store.iterdir())
    states = dict(line.rsplit(", ", 2)[:2] for line in (store / "sources.jsonl").read_text().splitlines())
    shards = len(list((store / "shards").iterdir()))
    return {
        "arrays": {id: opened.read(id).tobytes() for id in opened.ids},
        "rows": [{name: str(value) for name, value in row.items()} for row in rows],
        "files": names,
        "bytes": sizes - 128 * shards,
        "sources": states,
        **tables,
    }


def test_killed_twelve_times_at_random_moments_the_results_are_equal(mixed: Path, tmp_path: Path, start: Callable):
    start(time.sleep, 0).join(PATIENCE)  # the first one waits for the imports
    began = time.monotonic()
    start(build_store, mixed, tmp_path / "whole", jobs=1, progress=False).join(PATIENCE)
    seconds, expected = time.monotonic() - began, result(tmp_path / "whole")
    assert len(expected["arrays"]) == 43
    chance, killed = random.Random(11), 0
    for store in (tmp_path / "1", tmp_path / "2", tmp_path / "3"):
        for _ in range(4):
            process = start(build_store, mixed, store, jobs=1, progress=False)
            process.join(chance.uniform(0, seconds / 2))
            killed += process.is_alive()
            process.kill()
            process.join(PATIENCE)
            opened = Store(store) if (store / "header.json").exists() else None
            assert opened is None or all(opened.read(id).tobytes() == expected["arrays"][id] for id in opened.ids)
        last = start(build_store, mixed, store, jobs=1, progress=False)
        last.join(PATIENCE)
        assert last.exitcode == 0
        assert result(store) == expected
    assert killed >= 4


def die_after_commit(number: int, *arguments: object, **options: object) -> None:
    """Build a store and die as soon as so many commits are durable."""
    real, left = filling.StoreWriter.commit, iter(range(number, -1, -1))

    def commit(self: filling.StoreWriter) -> None:
        pending = bool(self._pending)
        real(self)
        if pending and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    filling.StoreWriter.commit = commit
    build_store(*arguments, **options)


@pytest.mark.parametrize("commits", [0, 1, 2])
def test_killed_right_after_a_commit_the_tables_know_of_its_tracks(mixed: Path, tmp_path: Path, commits: int):
    build_store(mixed, tmp_path / "whole", jobs=1, progress=False)
    process = multiprocessing.get_context("fork").Process(
        target=die_after_commit,
        args=(commits, mixed, tmp_path / "killed"),
        kwargs={"jobs": 1, "progress": False},
    )
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    build_store(mixed, tmp_path / "killed", jobs=1, progress=False)
    assert result(tmp_path / "killed") == result(tmp_path / "whole")


def test_a_renewal_killed_at_any_removal_is_made_up_for(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each removal is the last one once: what is left is renewed by the same two calls."""

    class KilledError(BaseException):
        pass

    real = os.unlink
    for number in range(12):
        folder, store = tmp_path / f"in{number}", tmp_path / f"out{number}"
        for name in ("a", "b"):
            write(f"in{number}/{name}.wav", 1)
        (folder / "bad.wav").write_text("words " * 500)
        build_store(folder, store, jobs=1, progress=False)
        write(f"in{number}/a.wav", 2)
        calls = iter(range(100))

        def unlink(*arguments: object, calls=calls, number=number, **options: object) -> None:
            if next(calls) == number:
                raise KilledError
            real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", unlink)
            try:
                drop_outdated(folder, store, "musicnn")
                finished = True
            except KilledError:
                finished = False
        drop_outdated(folder, store, "musicnn")
        build_store(folder, store, jobs=1, progress=False)
        opened = Store(store)
        assert [opened.row(id)["duration"] for id in opened.ids] == [2.0, 1.0]
        assert [line[:8] for line in (store / "skipped.csv").read_text().splitlines()[1:]] == ["bad.wav,"]
        if finished:
            break
    assert finished
    assert number > 5


def test_another_user_cannot_hold_the_lock_of_a_store_that_is_built(tmp_path: Path):
    with filling.alone(tmp_path / "store"):
        assert (tmp_path / "store" / ".build.lock").stat().st_mode & 0o077 == 0


def test_tables_beside_a_store_are_no_way_out_of_it(write: Write, tmp_path: Path):
    write("in/a.wav", 1)
    (tmp_path / "important").write_text("precious")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "sources.jsonl").symlink_to(tmp_path / "important")
    with pytest.raises(StoreError, match=r"sources.jsonl is a link"):
        build_store(tmp_path / "in", tmp_path / "store", jobs=1, progress=False)
    assert (tmp_path / "important").read_text() == "precious"
    (tmp_path / "store" / "sources.jsonl").unlink()
    (tmp_path / "store" / "sources.jsonl").write_text("[" * 100_000 + '\n["a.wav", "big", []]\n[[], 1, 2]\n5\n')
    assert build_store(tmp_path / "in", tmp_path / "store", jobs=1, progress=False).written == 1
