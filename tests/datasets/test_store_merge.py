from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from datasets import store_index
from datasets.store import Header, Store, StoreError, StoreWriter, consolidate, merge
from datasets.store_files import part_paths, try_lock

HEADER = Header("embeddings", (3, 8), producer={"block": 6}, fingerprint="a" * 16)


def embedding(seed: int, patches: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).random((patches, 3, 8)).astype(np.float16)


def make(path: Path, numbers: range, header: Header = HEADER, shard_bytes: int = 500) -> Path:
    with StoreWriter(path, header, shard_bytes=shard_bytes) as writer:
        for number in numbers:
            writer.append(f"t{number:02}", embedding(number, 1 + number % 5), source=f"{number}.ogg")
    return path


def assert_holds(path: Path, numbers: range) -> None:
    store = Store(path)
    assert store.ids == [f"t{number:02}" for number in numbers]
    for number in numbers:
        assert np.array_equal(store.read(f"t{number:02}"), embedding(number, 1 + number % 5))
        assert store.row(f"t{number:02}")["source"] == f"{number}.ogg"


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return [make(tmp_path / "a", range(10)), make(tmp_path / "b", range(10, 25))]


def test_the_merged_store_holds_all_tracks_in_the_same_bytes_on_disk(pair: list[Path], tmp_path: Path) -> None:
    merge(pair, tmp_path / "all")
    assert_holds(tmp_path / "all", range(25))
    inodes = {shard.stat().st_ino for folder in pair for shard in (folder / "shards").iterdir()}
    assert {shard.stat().st_ino for shard in (tmp_path / "all" / "shards").iterdir()} == inodes


def test_the_sources_can_go_or_grow(pair: list[Path], tmp_path: Path) -> None:
    merge(pair, tmp_path / "all")
    make(pair[0], range(30, 40))
    consolidate(pair[0])
    shutil.rmtree(pair[1])
    consolidate(tmp_path / "all")
    assert_holds(tmp_path / "all", range(25))


def test_merging_into_a_store_with_tracks_and_merging_again(pair: list[Path], tmp_path: Path) -> None:
    merge(pair[1:], pair[0])
    assert_holds(pair[0], range(25))
    merge(pair[1:], pair[0])
    assert_holds(pair[0], range(25))
    make(pair[0], range(25, 30))
    assert_holds(pair[0], range(30))


def test_what_a_living_writer_committed_is_merged_and_it_writes_on(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a", HEADER) as writer:
        writer.append("t00", embedding(0, 1), source="0.ogg")
        writer.commit()
        merge([tmp_path / "a"], tmp_path / "all")
        consolidate(tmp_path / "all")
        writer.append("t01", embedding(1, 2), source="1.ogg")
    assert_holds(tmp_path / "all", range(1))
    assert_holds(tmp_path / "a", range(2))
    merge([tmp_path / "a"], tmp_path / "all")
    assert_holds(tmp_path / "all", range(2))


def test_where_links_are_impossible_shards_are_copied(
    pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", link)
    merge(pair, tmp_path / "all")
    assert_holds(tmp_path / "all", range(25))


@pytest.mark.parametrize("call", ["link", "replace", "fsync"])
@pytest.mark.parametrize("after", [0, 1, 3, 5])
def test_a_merge_that_fails_leaves_the_destination_as_it_was(
    pair: list[Path], monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    real, calls = getattr(os, call), iter(range(1000))

    def failing(*arguments: object) -> object:
        if next(calls) == after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        try:
            merge(pair[1:], pair[0])
            assert_holds(pair[0], range(25))
        except StoreError as error:
            assert f"merge into {pair[0]} failed: [Errno 28]" in str(error)  # noqa: PT017
            consolidate(pair[0])
            assert_holds(pair[0], range(10 if len(Store(pair[0])) == 10 else 25))
    merge(pair[1:], pair[0])
    assert_holds(pair[0], range(25))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            Header("embeddings", (3, 8), producer={"block": 7}, fingerprint="b" * 16),
            "block: 7 in the store, 6",
        ),
        (Header("logits", (3, 8), fingerprint="a" * 16), "holds logits, embeddings is needed"),
        (Header("embeddings", (3, 8), "float32", fingerprint="a" * 16), "dtype=float32"),
        (Header("embeddings", (3, 8)), "fingerprint None, needed a{16}"),
    ],
)
def test_stores_of_other_things_are_refused(pair: list[Path], tmp_path: Path, header: Header, message: str) -> None:
    make(tmp_path / "other", range(40, 42), header)
    with pytest.raises(StoreError, match=message):
        merge([pair[0], tmp_path / "other"], tmp_path / "all")
    assert not (tmp_path / "all" / "header.json").exists()


def test_one_id_with_two_arrays_is_refused_and_with_one_is_kept(pair: list[Path], tmp_path: Path) -> None:
    make(tmp_path / "again", range(5, 12))
    merge([*pair, tmp_path / "again"], tmp_path / "all")
    assert_holds(tmp_path / "all", range(25))
    with StoreWriter(tmp_path / "unlike", HEADER) as writer:
        writer.append("t03", embedding(99))
    with pytest.raises(StoreError, match=r"unlike and .*different arrays for 1 id, the first is 't03'"):
        merge([tmp_path / "unlike"], tmp_path / "all")
    assert_holds(tmp_path / "all", range(25))


def test_nothing_and_oneself_cannot_be_merged(pair: list[Path]) -> None:
    with pytest.raises(StoreError, match="no sources"):
        merge([], pair[0])
    with pytest.raises(StoreError, match="is among the sources"):
        merge(pair, pair[1])


def test_consolidating_leaves_writers_at_work_alone(tmp_path: Path) -> None:
    path = make(tmp_path / "s", range(3))
    with StoreWriter(path, HEADER) as writer:
        for number in (3, 4):
            writer.append(f"t{number:02}", embedding(number, 1 + number), source=f"{number}.ogg")
            writer.commit()
            consolidate(path)
            assert len(part_paths(path)) == 1
            assert_holds(path, range(number + 1))
    assert not part_paths(path)
    assert_holds(path, range(5))


def test_consolidating_folds_the_dead_and_spares_the_living(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with StoreWriter(path, HEADER) as living:
        child = os.fork()
        if not child:
            dead = StoreWriter(path, HEADER)
            dead.append("t00", embedding(0, 1), source="0.ogg")
            dead.commit()
            os._exit(9)
        os.waitpid(child, 0)
        living.append("t01", embedding(1, 2), source="1.ogg")
        consolidate(path)
        assert len(part_paths(path)) == 1
        assert_holds(path, range(1))
    assert_holds(path, range(2))


def test_a_reader_that_opens_during_folding_misses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "s", StoreWriter(tmp_path / "s", HEADER)
    make(path, range(3))
    other.close()
    first, second = StoreWriter(path, HEADER), StoreWriter(path, HEADER)
    first.append("t03", embedding(3, 4), source="3.ogg")
    first.close()
    listed = part_paths(path)
    second.close()
    monkeypatch.setattr(store_index, "part_paths", lambda _: listed)  # the list from before, the files from after
    assert_holds(path, range(4))


def test_the_last_of_two_writers_folds_the_index(tmp_path: Path) -> None:
    first, second = StoreWriter(tmp_path / "s", HEADER), StoreWriter(tmp_path / "s", HEADER)
    first.append("t00", embedding(0, 1), source="0.ogg")
    second.append("t01", embedding(1, 2), source="1.ogg")
    first.close()
    assert len(part_paths(tmp_path / "s")) == 2
    assert Store(tmp_path / "s").ids == ["t00"]
    second.close()
    assert not part_paths(tmp_path / "s")
    assert_holds(tmp_path / "s", range(2))


def test_what_a_killed_writer_left_uncommitted_is_cut_off(tmp_path: Path) -> None:
    path = make(tmp_path / "s", range(3))
    child = os.fork()
    if not child:
        writer = StoreWriter(path, HEADER)
        writer.append("t03", embedding(3, 4), source="3.ogg")
        writer.commit()
        writer.append("t04", embedding(4, 5), source="4.ogg")
        os._exit(9)
    os.waitpid(child, 0)
    before = sum(shard.stat().st_size for shard in (path / "shards").iterdir())
    consolidate(path)
    after = sum(shard.stat().st_size for shard in (path / "shards").iterdir())
    assert before - after == embedding(4, 5).nbytes
    assert_holds(path, range(4))


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    descriptor = try_lock(tmp_path / "x")
    assert try_lock(tmp_path / "x") is None
    os.close(descriptor)


def test_consolidating_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        consolidate(tmp_path)
