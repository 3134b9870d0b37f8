from __future__ import annotations

import json
import mmap
import multiprocessing
import os
import resource
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datasets.store import Header, Store, StoreError, StoreWriter
from datasets.store_files import locked
from datasets.store_index import SCHEMA, save_parquet
from datasets.windows import exhaustive_windows

MEL = Header("mel", (96,), units="log10(1 + 10000 mel)", producer={"hop": 256, "bands": 96}, fingerprint="a" * 16)
TOKEN = "0123456789ab"  # of a writer


def mel(seed: int, rows: int) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, 96)).astype(np.float16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with StoreWriter(tmp_path / "store", MEL) as writer:
        for number, rows in enumerate([50, 7, 1000]):
            writer.append(f"t{2 - number}", mel(number, rows), source=f"/music/{number}.ogg", duration=rows * 0.016)
    return tmp_path / "store"


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_what_was_stored_is_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    item = data.draw(st.sampled_from([(), (1,), (5,), (3, 4)]))
    dtype = data.draw(st.sampled_from(["float16", "float32", "int16"]))
    values = st.integers(-2048, 2048)
    ids = data.draw(st.lists(st.text(min_size=1, max_size=8).filter(_encodes), unique=True, min_size=1, max_size=6))
    arrays = {id: data.draw(hnp.arrays(dtype, (data.draw(st.integers(1, 9)), *item), elements=values)) for id in ids}
    path = tmp_path_factory.mktemp("law") / "store"
    with StoreWriter(path, Header("embeddings", item, dtype), shard_bytes=64) as writer:
        for id, array in arrays.items():
            writer.append(id, array)
    store = Store(path)
    assert store.ids == sorted(arrays)
    for id, array in arrays.items():
        start = data.draw(st.integers(0, len(array) - 1))
        stop = data.draw(st.integers(start + 1, len(array)))
        assert np.array_equal(store.read(id), array)
        assert np.array_equal(store.read(id, start, stop), array[start:stop])
        assert np.array_equal(store.read_crop(id, start, stop - start), array[start:stop])
        assert store.read(id).dtype == np.dtype(dtype)


def _encodes(text: str) -> bool:
    return text.encode("utf-8", "ignore").decode() == text


def test_the_index_tells_of_every_track(path: Path) -> None:
    store = Store(path, fingerprint="a" * 16, kind="mel")
    assert (len(store), store.ids, "t1" in store, "t9" in store, 3 in store) == (
        3,
        ["t0", "t1", "t2"],
        True,
        False,
        False,
    )
    assert [store.length(id) for id in store.ids] == [1000, 7, 50]
    row = store.row("t2")
    assert (row["id"], row["length"], row["source"], row["duration"]) == ("t2", 50, "/music/0.ogg", 0.8)
    assert row["checksum"].startswith("crc32:")
    assert store.table().column_names == list(SCHEMA.names)
    assert store.header == MEL


def test_shards_are_plain_npy_files(path: Path) -> None:
    (shard,) = (path / "shards").iterdir()
    assert np.array_equal(np.load(shard), np.concatenate([mel(0, 50), mel(1, 7), mel(2, 1000)]))


def test_crops_of_short_tracks_and_tails_are_centred_in_zeros(path: Path) -> None:
    store = Store(path)
    crop = store.read_crop("t1", 0, 10)
    assert np.array_equal(crop[1:8], mel(1, 7))
    assert not crop[:1].any()
    assert not crop[8:].any()
    for start, held in exhaustive_windows(50, 12):
        window = store.read_crop("t2", start, 12)
        assert window.shape == (12, 96)
        assert np.array_equal(window[(12 - held) // 2 :][:held], mel(0, 50)[start : start + held])


@pytest.mark.parametrize("bounds", [(0, 51), (-1, 3), (50, None), (5, 5), (6, 2)])
def test_rows_outside_the_track_are_refused(path: Path, bounds: tuple[int, int | None]) -> None:
    with pytest.raises(StoreError, match="'t2' has rows 0 to 50"):
        Store(path).read("t2", *bounds)


@pytest.mark.parametrize(("start", "length"), [(50, 10), (-1, 10), (0, 0)])
def test_crops_outside_the_track_are_refused(path: Path, start: int, length: int) -> None:
    with pytest.raises(StoreError, match="'t2' has rows 0 to 50"):
        Store(path).read_crop("t2", start, length)


def test_unknown_ids_are_named_with_an_example(path: Path) -> None:
    with pytest.raises(StoreError, match=r"'nope' is not in .*store, which holds 3 tracks, for instance 't0'"):
        Store(path).length("nope")


def test_another_fingerprint_or_kind_names_both_and_what_differs(path: Path) -> None:
    with pytest.raises(StoreError, match=r"fingerprint a{16}, needed b{16} \(hop: 256 in the store, 320 expected\)"):
        Store(path, fingerprint="b" * 16, producer={"hop": 320, "bands": 96})
    with pytest.raises(StoreError, match=r'fingerprint a{16}, needed b{16} \(its producer: {"bands": 96, "hop": 256}'):
        Store(path, fingerprint="b" * 16)
    with pytest.raises(StoreError, match="holds mel, embeddings is needed"):
        Store(path, kind="embeddings")


def test_views_are_mapped_and_read_only_and_crops_are_the_callers_own(path: Path) -> None:
    store = Store(path)
    view, crop = store.read("t0", 5, 9), store.read_crop("t0", 5, 4)
    base = view
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base.base, mmap.mmap | memoryview)
    assert not view.flags.writeable
    crop[:] = 0
    assert np.array_equal(view, mel(2, 1000)[5:9])


def test_a_crop_reads_nothing_but_the_crop(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", MEL) as writer:
        for number in range(60):
            writer.append(str(number), np.full((5000, 96), number, np.float16))
    store = Store(tmp_path / "s")
    (shard,) = (tmp_path / "s" / "shards").iterdir()
    before, faults = _bytes_asked_for(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    crop = store.read_crop("30", 1000, 100)
    assert (crop == 30).all()
    assert _bytes_asked_for() - before < 2 * crop.nbytes + 20_000
    touched = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) * resource.getpagesize()
    assert touched < shard.stat().st_size / 20


def _bytes_asked_for() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def test_pages_on_disk_give_the_same_crop_as_pages_in_memory(path: Path) -> None:
    expected = Store(path).read_crop("t0", 100, 500)
    (shard,) = (path / "shards").iterdir()
    descriptor = os.open(shard, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    assert np.array_equal(Store(path).read_crop("t0", 100, 500), expected)


@pytest.mark.parametrize("error", [BlockingIOError(11, "not in memory"), OSError(95, "cannot tell")])
def test_both_ways_of_copying_agree(path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    real = os.preadv

    def preadv(descriptor: int, buffers: list, offset: int, flags: int = 0) -> int:
        if flags:
            raise error
        return real(descriptor, [memoryview(buffers[0])[:5000]], offset)  # as few bytes as a kernel may give

    monkeypatch.setattr(os, "preadv", preadv)
    assert np.array_equal(Store(path).read_crop("t0", 100, 500), mel(2, 1000)[100:600])


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_it_travels_to_workers(path: Path, method: str) -> None:
    store = Store(path)
    store.read("t0")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        crop = pool.submit(store.read_crop, "t0", 10, 20).result(timeout=240)
    assert np.array_equal(crop, mel(2, 1000)[10:30])


def test_a_worker_may_have_another_working_directory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    copy = deepcopy(Store("store"))  # by the state that pickling uses
    monkeypatch.chdir("/")
    assert np.array_equal(copy.read("t2"), mel(0, 50))


def test_a_worker_sees_the_tracks_its_store_was_opened_with(path: Path) -> None:
    store = Store(path)
    with StoreWriter(path, MEL) as writer:
        writer.append("later", mel(9, 5))
    copy = deepcopy(store)  # by the state that pickling uses
    assert copy.ids == store.ids == ["t0", "t1", "t2"]
    assert "later" in Store(path)


def test_more_shards_than_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StoreWriter(tmp_path / "s", MEL, shard_bytes=1) as writer:
        for number in range(20):
            writer.append(f"{number:02}", mel(number, 3))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, 32))
    store = Store(tmp_path / "s")
    views = [store.read(id) for id in store.ids]
    assert len(store._mapped) == 4
    for number, view in enumerate(views):
        assert np.array_equal(view, mel(number, 3))


def test_opening_and_looking_up_takes_little_memory_for_many_tracks(path: Path) -> None:
    count = 50_000
    ids = [f"artist {number // 1000}/album/{number:08}.flac" for number in range(count)]
    (shard,) = (path / "shards").iterdir()
    os.truncate(shard, 128 + count * MEL.row_bytes)
    columns = {
        "id": pa.array(ids),
        "shard": pa.array([shard.name] * count).dictionary_encode(),
        "offset": pa.array(np.arange(count)),
        "length": pa.array(np.ones(count, np.int64)),
        "source": pa.array(ids),
        "duration": pa.array(np.ones(count)),
        "checksum": pa.array([""] * count),
        "audio_checksum": pa.array(["crc32:01234567"] * count),
    }
    with locked(path):
        save_parquet(path, pa.table(columns).cast(SCHEMA))
    del columns
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    store = Store(path)
    assert store.length(ids[777]) == 1
    python, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert python + pa.total_allocated_bytes() - arrow < 220 * count


def test_a_thousand_tracks_take_their_bytes_and_hardly_more(tmp_path: Path) -> None:
    rows, silence = 300, np.zeros((300, 96), np.float16)
    with StoreWriter(tmp_path / "s", MEL) as writer:
        for number in range(1000):
            writer.append(f"artist/album {number % 50}/{number:04} title.mp3", silence, f"/music/{number}.mp3", 4.8)
    taken = sum(file.stat().st_size for file in (tmp_path / "s").rglob("*") if file.is_file())
    assert taken <= 1.02 * 1000 * rows * 192
    assert len(list((tmp_path / "s" / "shards").iterdir())) == 1


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store at .*: it holds no header.json"):
        Store(tmp_path)
    with pytest.raises(StoreError, match=r"no store at .*nowhere: it does not exist"):
        Store(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "store format None"),
        ('{"version": 99}', "store format 99"),
        ('{"version": 1, "kind": "mel", "colour": 3}', "is not a store's header"),
    ],
)
def test_a_damaged_header_is_named(path: Path, content: str, message: str) -> None:
    (path / "header.json").write_text(content)
    with pytest.raises(StoreError, match=message):
        Store(path)


def test_a_damaged_index_is_named(path: Path) -> None:
    (path / "index.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match=r"index.parquet cannot be read"):
        Store(path)


def test_a_damaged_shard_is_named(path: Path) -> None:
    (shard,) = (path / "shards").iterdir()
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"\.npy is cut short: 't0' is not whole"):
        Store(path).read("t0")
    assert len(Store(path).read("t2")) == 50
    for content in (b"nonsense" * 99, b""):
        shard.write_bytes(content)
        with pytest.raises(StoreError, match=r"\.npy is damaged"):
            Store(path).read("t2")
    np.save(shard, np.zeros((2000, 96), np.float32))
    with pytest.raises(StoreError, match="holds float32 of shape"):
        Store(path).read("t2")
    shard.unlink()
    with pytest.raises(StoreError, match="No such file"):
        Store(path).read("t2")


def test_a_damaged_part_index_is_named(path: Path) -> None:
    row = {"id": "x", "shard": f"{TOKEN}-0000.npy", "offset": 0, "length": 1, "source": "", "duration": None}
    (path / "parts" / f"{TOKEN}.jsonl").write_text("oops\n" + json.dumps(row | {"checksum": ""}) + "\n")
    with pytest.raises(StoreError, match=rf"{TOKEN}.jsonl, line 1 is damaged"):
        Store(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "video"}, "kind='video': a store holds one of mel, audio, embeddings, logits"),
        ({"fill": "silence"}, "fill='silence': expected a finite number"),
        ({"fill": float("nan")}, "fill=nan: expected a finite number"),
        ({"item_shape": (0,)}, "every size must be at least 1"),
        ({"dtype": "float17"}, "dtype='float17' is not a numpy type"),
        ({"dtype": "complex64"}, "a store holds real numbers"),
        ({"producer": {"window": object()}}, "producer: .* not JSON serializable"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        Header(**{"kind": "mel", "item_shape": (96,), **fields})
