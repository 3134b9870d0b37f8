from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import store_index, store_shard, store_writer
from datasets.store import Header, Store, StoreError, StoreWriter
from datasets.store_files import locked, part_paths

HEADER = Header("mel", (96,), producer={"hop": 256}, fingerprint="a" * 16)
ROOT = Path(__file__).parents[2]


def mel(id: str) -> np.ndarray:
    """The one array that belongs to an id."""
    rng = np.random.default_rng(zlib.crc32(id.encode()))
    return rng.random((int(rng.integers(1, 60)), 96)).astype(np.float16)


def assert_whole(path: Path, acknowledged: set[str]) -> set[str]:
    """Everything in the store is right, and everything that was promised is there."""
    store = Store(path)
    for id in store.ids:
        assert np.array_equal(store.read(id), mel(id)), id
    assert acknowledged <= set(store.ids)
    return set(store.ids)


def assert_tidy(path: Path) -> None:
    """No file but the ones that hold something, and no byte in the shards without an index row."""
    store = Store(path)
    shards = {shard.name: shard for shard in (path / "shards").iterdir()}
    assert set(shards) == set(store.table()["shard"].to_pylist())
    assert sum(len(np.load(shard)) for shard in shards.values()) == sum(map(store.length, store.ids))
    assert {file.name for file in path.iterdir()} == {"header.json", "index.parquet", "parts", "shards", ".lock"}
    assert not part_paths(path)
    for shard in shards.values():
        assert shard.stat().st_size == 128 + np.load(shard).nbytes


def finish(path: Path, ids: list[str]) -> None:
    with StoreWriter(path, HEADER, shard_bytes=40_000) as writer:
        for id in ids:
            if id not in writer.done:
                writer.append(id, mel(id))


# ---- what a writer takes and refuses


def test_nothing_is_visible_before_commit_and_everything_after(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", HEADER) as writer:
        writer.append("a", mel("a"))
        assert Store(tmp_path / "s").ids == []
        assert writer.done == set()
        writer.commit()
        writer.append("b", mel("b"))
        assert Store(tmp_path / "s").ids == ["a"]
        assert writer.done == {"a"}
        (shard,) = (tmp_path / "s" / "shards").iterdir()
        assert np.array_equal(np.load(shard), mel("a"))
    assert assert_whole(tmp_path / "s", {"a", "b"}) == {"a", "b"}
    assert_tidy(tmp_path / "s")


def test_commits_come_by_themselves_with_bytes_and_with_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(store_writer.time, "monotonic", lambda: now)
    with StoreWriter(tmp_path / "s", HEADER) as writer:
        writer.append("a", mel("a"))
        now += 6
        writer.append("b", mel("b"))
        assert writer.done == {"a", "b"}
        monkeypatch.setattr(store_writer, "_COMMIT_BYTES", 1)
        writer.append("c", mel("c"))
        assert writer.done == {"a", "b", "c"}


def test_appending_later_leaves_what_is_there(tmp_path: Path) -> None:
    finish(tmp_path / "s", ["a", "b"])
    with StoreWriter(tmp_path / "s", HEADER) as writer:
        assert writer.done == {"a", "b"}
        with pytest.raises(StoreError, match="'a' is stored already"):
            writer.append("a", mel("a"))
        writer.append("c", mel("c"))
        with pytest.raises(StoreError, match="'c' is stored already"):
            writer.append("c", mel("c"))
    assert assert_whole(tmp_path / "s", set()) == {"a", "b", "c"}
    assert_tidy(tmp_path / "s")


def test_shards_are_begun_at_their_size_and_hold_whole_tracks(tmp_path: Path) -> None:
    ids = [str(number) for number in range(60)]
    finish(tmp_path / "s", ids)
    assert_whole(tmp_path / "s", set(ids))
    assert_tidy(tmp_path / "s")
    sizes = [shard.stat().st_size for shard in (tmp_path / "s" / "shards").iterdir()]
    assert len(sizes) > 5
    assert max(sizes) <= 40_000 + 128


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 80)), r"'x' has shape \(5, 80\): .* takes \[1 or more, \*\(96,\)\]"),
        (np.zeros((0, 96)), r"'x' has shape \(0, 96\)"),
        (np.zeros(96), r"'x' has shape \(96,\)"),
        (np.zeros((5, 96), complex), "'x' is complex128"),
        (np.array([["a"] * 96]), "'x' is <U1"),
        (
            np.where(np.arange(192).reshape(2, 96) == 100, np.nan, 0),
            r"1 values that are not finite .* at \(1, 4\) \(nan\)",
        ),
        (np.full((2, 96), -np.inf), "192 values that are not finite"),
        (np.full((1, 96), 70_000.0), r"96 values that are not finite as float16, the first at \(0, 0\) \(70000.0\)"),
    ],
)
def test_arrays_that_do_not_belong_are_refused_and_leave_no_trace(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    with StoreWriter(tmp_path / "s", HEADER) as writer:
        with pytest.raises(StoreError, match=message):
            writer.append("x", array)
        writer.append("ok", mel("ok"))
    assert assert_whole(tmp_path / "s", set()) == {"ok"}
    assert_tidy(tmp_path / "s")


def test_non_finite_is_found_in_every_type(tmp_path: Path) -> None:
    for dtype in ("float16", "float32", "float64"):
        with StoreWriter(tmp_path / dtype, Header("logits", (2,), dtype)) as writer:
            writer.append("fine", np.array([[-0.0, np.finfo(dtype).max]]))
            for bad in (np.nan, -np.nan, np.inf, -np.inf):
                with pytest.raises(StoreError, match="not finite"):
                    writer.append("bad", np.array([[0.0, bad]]))


@pytest.mark.parametrize("id", ["", 3, None, "b\udce9"])
def test_ids_are_texts(tmp_path: Path, id: object) -> None:
    with StoreWriter(tmp_path / "s", HEADER) as writer, pytest.raises(StoreError, match="valid UTF-8"):
        writer.append(id, mel("x"))


def test_a_source_whose_name_is_no_text_is_spelled_out(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", HEADER) as writer:
        writer.append("x", mel("x"), source=os.fsdecode(b"caf\xe9.mp3"))
    assert Store(tmp_path / "s").row("x")["source"] == "caf\\udce9.mp3"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (Header("mel", (96,), producer={"hop": 320}, fingerprint="b" * 16), "hop: 256 in the store, 320 expected"),
        (Header("logits", (96,), fingerprint="a" * 16), "holds mel, logits is needed"),
        (Header("mel", (80,), fingerprint="a" * 16), r"item_shape=\(96,\), \(80,\) is to be written"),
        (Header("mel", (96,), "float32", fingerprint="a" * 16), "dtype=float16, float32 is to be written"),
    ],
)
def test_a_store_of_something_else_is_not_appended_to(tmp_path: Path, header: Header, message: str) -> None:
    finish(tmp_path / "s", ["a"])
    with pytest.raises(StoreError, match=message):
        StoreWriter(tmp_path / "s", header)
    assert assert_whole(tmp_path / "s", set()) == {"a"}


def test_a_closed_writer_says_so(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s", HEADER)
    writer.close()
    writer.close()
    with pytest.raises(StoreError, match="this writer is closed"):
        writer.append("a", mel("a"))


def test_an_error_of_the_caller_keeps_what_was_appended(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has shape"), StoreWriter(tmp_path / "s", HEADER) as writer:  # noqa: PT012
        writer.append("a", mel("a"))
        writer.append("b", np.zeros(3))
    assert assert_whole(tmp_path / "s", set()) == {"a"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"the store .*file/s cannot be opened for writing"):
        StoreWriter(tmp_path / "file" / "s", HEADER)


# ---- no room


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process and return its wait status; an exception there is status 1."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException as error:  # the child must not return into the test runner
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    return os.waitpid(child, 0)[1]


def test_a_limit_on_file_size_stops_the_writer_and_nothing_else(tmp_path: Path) -> None:
    path, big = tmp_path / "s", np.ones((2000, 96), np.float16)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        with StoreWriter(path, HEADER) as writer:
            writer.append("a", mel("a"))
            writer.append("big", big)
            with pytest.raises(StoreError, match=rf"the store {path} has no room for 'bigger': File too large"):
                writer.append("bigger", big)
            (shard,) = (path / "shards").iterdir()
            assert shard.stat().st_size == 128 + mel("a").nbytes + big.nbytes  # what did not fit gave its room back

    assert in_child(work) == 0
    store = Store(path)
    assert store.ids == ["a", "big"]
    assert np.array_equal(store.read("big"), big)
    assert_tidy(path)
    finish(path, ["b", "c"])
    assert Store(path).ids == ["a", "b", "big", "c"]


def no_space(monkeypatch: pytest.MonkeyPatch, name: str, after: int) -> None:
    """From the call number ``after`` on, ``os.<name>`` finds the disk full; a write still gets half of its bytes in."""
    real, calls = getattr(os, name), iter(range(10_000))

    def failing(*arguments: object) -> object:
        number = next(calls)
        if number < after:
            return real(*arguments)
        if name == "write" and number == after:
            return real(arguments[0], memoryview(arguments[1])[: max(len(arguments[1]) // 2, 1)])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, name, failing)


@pytest.mark.parametrize("name", ["write", "fsync", "pwrite", "replace"])
@pytest.mark.parametrize("after", range(0, 14, 2))
def test_a_full_disk_at_any_call_leaves_what_was_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    path = tmp_path / "s"
    finish(path, ["before"])
    done = {"before"}
    with monkeypatch.context() as patch:
        no_space(patch, name, after)
        try:
            with StoreWriter(path, HEADER) as writer:
                done = writer.done
                for number in range(6):
                    writer.append(str(number), mel(str(number)))
                    writer.commit()
        except StoreError as error:
            assert str(path) in str(error)  # noqa: PT017 - late calls succeed
            assert "No space left on device" in str(error)  # noqa: PT017
    assert_whole(path, done)
    finish(path, ["before", *map(str, range(6))])
    assert len(assert_whole(path, done)) == 7
    assert_tidy(path)


def test_a_writer_whose_commit_failed_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = StoreWriter(tmp_path / "s", HEADER)
    writer.append("a", mel("a"))
    with monkeypatch.context() as patch:
        no_space(patch, "fsync", 0)
        with pytest.raises(StoreError, match="lost 1 track not committed yet: No space left"):
            writer.commit()
    with pytest.raises(StoreError, match="this writer failed"):
        writer.append("b", mel("b"))
    writer.close()
    assert Store(tmp_path / "s").ids == []


def test_a_commit_that_fails_half_way_keeps_none_of_its_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = StoreWriter(tmp_path / "s", HEADER)
    for id in ("a", "b", "c", "d"):
        writer.append(id, mel(id))
    with monkeypatch.context() as patch:
        no_space(patch, "write", 0)
        with pytest.raises(StoreError, match="lost 4 tracks"):
            writer.commit()
    assert Store(tmp_path / "s").ids == []
    writer.close()


# ---- many processes, killed or not


def test_a_writer_waits_while_the_index_is_folded(tmp_path: Path) -> None:
    finish(tmp_path / "s", ["a"])
    opener = threading.Thread(target=finish, args=(tmp_path / "s", ["b"]))
    with locked(tmp_path / "s"):
        opener.start()
        opener.join(timeout=0.2)
        assert opener.is_alive()
        assert not part_paths(tmp_path / "s")
    opener.join(timeout=240)
    assert Store(tmp_path / "s").ids == ["a", "b"]


def test_a_writer_is_not_used_by_a_forked_process(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", HEADER) as writer:

        def work() -> None:
            with pytest.raises(StoreError, match="belongs to the process that opened it"):
                writer.append("a", mel("a"))

        assert in_child(work) == 0
        writer.append("a", mel("a"))
    assert Store(tmp_path / "s").ids == ["a"]


CALLS = ["write", "pwrite", "fsync", "replace", "unlink", "mkdir", "open", "close", "ftruncate"]


def dying_writer(path: Path, ids: list[str], call: str, fatal: int, send: int) -> None:
    """Add ``ids`` and name on ``send`` what was committed; die at the call number ``fatal``, a write half done."""
    real_write, real, calls = os.write, getattr(os, call), iter(range(10_000))

    def dying(*arguments: object, **keywords: object) -> object:
        if next(calls) == fatal:
            if call == "write":
                real(arguments[0], memoryview(arguments[1])[: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **keywords)

    setattr(os, call, dying)
    with StoreWriter(path, HEADER, shard_bytes=8_000) as writer:
        for id in ids:
            writer.append(id, mel(id))
            if id != ids[0]:
                writer.commit()
                real_write(send, f"{id}\n".encode())


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("new", [True, False], ids=["new", "grown"])
def test_death_at_every_system_call_leaves_a_whole_store(tmp_path: Path, call: str, new: bool) -> None:
    receive, send = os.pipe()
    ids = ["a", "b", "c", "d"]
    for fatal in range(200):
        path, promised = tmp_path / str(fatal), set()
        if not new:
            finish(path, ["x", "y"])
            in_child(lambda path=path: dying_writer(path, ["p", "q", "r"], "pwrite", 2, send))
            promised = {"x", "y", *os.read(receive, 65_536).decode().split()}
            assert promised == {"x", "y", "q"}
        status = in_child(lambda path=path, fatal=fatal: dying_writer(path, ids, call, fatal, send))
        os.write(send, b"\n")
        promised |= set(os.read(receive, 65_536).decode().split())
        if (path / "header.json").exists():
            assert_whole(path, promised)
        if not status:
            break
        assert os.WIFSIGNALED(status)
        finish(path, [*ids, "last"])
        assert assert_whole(path, promised) >= {*ids, "last"}
        assert_tidy(path)
    os.close(receive)
    os.close(send)
    assert fatal > 0 or call in {"ftruncate", "unlink"}
    assert not status


WRITER = textwrap.dedent(
    """
    import sys
    sys.path[:0] = sys.argv[1:3]
    from test_store_writer import HEADER, StoreWriter, mel
    path, mine = sys.argv[3], sys.argv[4].split(",")
    while True:                                   # several sessions, so that consolidation is hit too
        with StoreWriter(path, HEADER, shard_bytes=40_000) as writer:
            todo = [id for id in mine if id not in writer.done]
            for number, id in enumerate(todo[:25]):
                writer.append(id, mel(id))
                if number % 3 == 2:
                    writer.commit()
                    print(*todo[number - 2:number + 1], flush=True)
        print(*todo[:25], flush=True)
        if len(todo) <= 25:
            break
    """
)


def start_writer(path: Path, ids: list[str]) -> subprocess.Popen:
    arguments = [sys.executable, "-c", WRITER, str(ROOT), str(Path(__file__).parent), str(path), ",".join(ids)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_processes_killed_at_random_moments_lose_nothing_they_promised(tmp_path: Path) -> None:
    path, chance = tmp_path / "s", random.Random(7)
    shares = [[f"{writer}/{number}" for number in range(400)] for writer in range(2)]
    acknowledged: set[str] = set()
    for _ in range(6):
        writers = [start_writer(path, ids) for ids in shares]
        killers = []
        for writer in writers:
            acknowledged |= set(writer.stdout.readline().split())
            killers.append(threading.Timer(chance.uniform(0.0, 0.25), writer.kill))
            killers[-1].start()
        for writer, killer in zip(writers, killers, strict=True):
            acknowledged |= {id for line in writer.stdout if line.endswith("\n") for id in line.split()}
            writer.wait(timeout=240)
            killer.cancel()
            writer.stdout.close()
        assert_whole(path, acknowledged)
    writers = [start_writer(path, ids) for ids in shares]
    for writer in writers:
        writer.communicate(timeout=240)
        assert writer.returncode == 0
    assert assert_whole(path, acknowledged) == {id for ids in shares for id in ids}
    assert_tidy(path)


def test_readers_next_to_writers_always_see_whole_tracks(tmp_path: Path) -> None:
    path = tmp_path / "s"
    shares = [[f"{writer}/{number}" for number in range(100)] for writer in range(2)]
    writers = [start_writer(path, ids) for ids in shares]
    seen: set[str] = set(writers[0].stdout.readline().split())
    while any(writer.poll() is None for writer in writers):
        seen = assert_whole(path, seen)
    for writer in writers:
        writer.communicate(timeout=240)
        assert writer.returncode == 0
    assert len(assert_whole(path, seen)) == 200
    assert_tidy(path)


def test_two_writers_of_one_id_leave_one_of_them(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with StoreWriter(path, HEADER) as first, StoreWriter(path, HEADER) as second:
        first.append("a", mel("a"))
        second.append("a", mel("a"))
    assert Store(path).ids == ["a"]
    assert np.array_equal(Store(path).read("a"), mel("a"))


def test_a_shard_header_keeps_its_size() -> None:
    sizes = {len(store_shard.shard_header(HEADER, rows)) for rows in (0, 9, 10**6, 10**15, 2**62)}
    assert sizes == {128}


def test_a_long_part_index_is_read_in_blocks(tmp_path, monkeypatch):
    """Rows as Python objects take ten times the room of a table: no more than a block of them exist at once."""
    monkeypatch.setattr(store_index, "_BLOCK", 8)
    tables = []
    made = store_index.rows_to_table
    monkeypatch.setattr(store_index, "rows_to_table", lambda rows: tables.append(len(rows)) or made(rows))
    with StoreWriter(tmp_path / "store", HEADER) as writer:
        for number in range(50):
            writer.append(f"{number:02d}", np.ones((1 + number % 3, *HEADER.item_shape), np.float16))
    assert max(tables) == 8
    store = Store(tmp_path / "store")
    assert store.ids == [f"{number:02d}" for number in range(50)]
    assert [store.length(identity) for identity in store.ids] == [1 + number % 3 for number in range(50)]


def test_many_small_tracks_are_committed_before_they_pile_up(tmp_path, monkeypatch):
    monkeypatch.setattr(store_writer, "_COMMIT_TRACKS", 10)
    with StoreWriter(tmp_path / "store", HEADER) as writer:
        for number in range(25):
            writer.append(str(number), np.ones((1, *HEADER.item_shape), np.float16))
        assert len(Store(tmp_path / "store")) == 20
