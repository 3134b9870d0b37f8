"""Tracks that workers put into shards while another process keeps the index."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from datasets.store import Header, Store, StoreError, StoreWriter
from datasets.store_filling import Filler

HEADER = Header("mel", (4,), producer={"rate": 1}, fingerprint="x")


def rows(number: int, length: int = 5) -> np.ndarray:
    return np.full((length, 4), number, np.float16)


def fill(filler: Filler, numbers: range) -> list[dict]:
    with filler.open() as filling:
        for number in numbers:
            filling.append(f"{number:03d}", rows(number), f"{number}.wav", 1.5)
        return filling.finish()


def test_what_several_fill_is_what_one_writes(tmp_path: Path):
    with StoreWriter(tmp_path / "one", HEADER) as writer:
        for number in range(40):
            writer.append(f"{number:03d}", rows(number), f"{number}.wav", 1.5)
    with StoreWriter(tmp_path / "many", HEADER) as writer:
        filler = Filler.of(writer)
        given: list[list[dict]] = []
        threads = [
            threading.Thread(target=lambda first=first: given.append(fill(filler, range(first, first + 10))))
            for first in (0, 10, 20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for group in given:
            writer.adopt(group)
        assert len(writer.done) == 30
        writer.append("030", rows(30), "30.wav", 1.5)  # beside what it adopts it writes of its own
        writer.adopt(fill(filler, range(31, 40)))
    one, many = Store(tmp_path / "one"), Store(tmp_path / "many")
    assert one.ids == many.ids
    for id in one.ids:
        np.testing.assert_array_equal(one.read(id), many.read(id))
    told = [[{**row, "shard": "", "offset": 0} for row in store.table().to_pylist()] for store in (one, many)]
    assert told[0] == told[1]
    for shard in (tmp_path / "many" / "shards").iterdir():
        assert len(np.load(shard)) * 8 + 128 == shard.stat().st_size
    assert list((tmp_path / "many" / "parts").iterdir()) == []


def test_groups_go_on_in_one_shard_until_it_is_full(tmp_path: Path):
    with StoreWriter(tmp_path, HEADER) as writer:
        filler = Filler(tmp_path, HEADER, writer.token, shard_bytes=20 * rows(0).nbytes)
        for first in range(0, 60, 10):
            writer.adopt(fill(filler, range(first, first + 10)))
        assert len(list((tmp_path / "shards").iterdir())) == 3
    store = Store(tmp_path)
    assert all((store.read(id) == int(id)).all() for id in store.ids)


def test_two_stores_filled_in_turns_have_a_shard_each(tmp_path: Path):
    with StoreWriter(tmp_path / "a", HEADER) as first, StoreWriter(tmp_path / "b", HEADER) as second:
        for start in range(0, 30, 10):
            for writer in (first, second):
                writer.adopt(fill(Filler.of(writer), range(start, start + 10)))
    for name in "ab":
        assert len(Store(tmp_path / name)) == 30
        assert len(list((tmp_path / name / "shards").iterdir())) == 1


def test_a_number_that_is_taken_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    numbers = iter([7, 7, 8])
    monkeypatch.setattr("datasets.store_filling.secrets.randbelow", lambda most: next(numbers))
    given: list[dict] = []
    with StoreWriter(tmp_path, HEADER) as writer:
        filler = Filler.of(writer)
        other = threading.Thread(target=lambda: given.extend(fill(filler, range(5))))
        other.start()
        other.join()
        writer.adopt([*given, *fill(filler, range(5, 10))])
    store = Store(tmp_path)
    assert [int(store.read(id)[0, 0]) for id in store.ids] == list(range(10))


def test_what_no_index_names_is_removed_and_does_no_harm(tmp_path: Path):
    """Of a group that was computed twice, since its first worker was thought to be dead, one counts."""
    with StoreWriter(tmp_path, HEADER) as writer:
        filler = Filler.of(writer)
        lost = threading.Thread(target=fill, args=(filler, range(10)))
        lost.start()
        lost.join()
        writer.adopt(fill(filler, range(10)))
        writer.adopt(fill(filler, range(5, 15)))
        assert len(list((tmp_path / "shards").iterdir())) == 2
    store = Store(tmp_path)
    assert len(store) == 15
    assert all((store.read(id) == int(id)).all() for id in store.ids)
    assert len(list((tmp_path / "shards").iterdir())) == 1


def test_a_folder_that_is_not_the_writers_is_refused(tmp_path: Path):
    """As on a machine that has a folder of the same name on a disk of its own."""
    writer = StoreWriter(tmp_path / "store", HEADER)
    filler = Filler.of(writer)
    StoreWriter(tmp_path / "elsewhere", HEADER).close()
    with pytest.raises(StoreError, match="give a folder that all of them share"):
        Filler(tmp_path / "elsewhere", HEADER, filler.token).open()
    writer.close()
    with pytest.raises(StoreError, match="or that has ended"):
        filler.open()


def test_a_bad_array_leaves_the_tracks_before_it(tmp_path: Path):
    with StoreWriter(tmp_path, HEADER) as writer, Filler.of(writer).open() as filling:
        filling.append("a", rows(1))
        with pytest.raises(StoreError, match="'b' has 20 values that are not finite"):
            filling.append("b", rows(1) * np.inf)
        with pytest.raises(StoreError, match="'c' has shape"):
            filling.append("c", np.zeros((5, 3), np.float16))
        writer.adopt(filling.finish())
    assert Store(tmp_path).ids == ["a"]
