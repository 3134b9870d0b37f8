from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from datasets.store import Header, Store, StoreError, StoreWriter
from datasets.upstream import UpstreamFolder, open_features


@pytest.fixture
def mels() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    names = {"b/2.mmap": 40, "a/1.mmap": 7, "a/deep/3.npy": 25}
    return {name: rng.random((frames, 96)).astype(np.float16) for name, frames in names.items()}


@pytest.fixture
def folder(tmp_path: Path, mels: dict[str, np.ndarray]) -> Path:
    for name, mel in mels.items():
        path = tmp_path / "mels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, mel.astype(np.float32))
        else:
            mel.tofile(path)
    (tmp_path / "mels" / "README.txt").write_text("not a mel")
    return tmp_path / "mels"


def test_files_are_read_like_a_store(folder: Path, mels: dict[str, np.ndarray]) -> None:
    features = open_features(folder, fingerprint="0123456789abcdef", kind="mel")
    assert features.header.kind == "mel"
    assert features.header.item_shape == (96,)
    assert features.header.fingerprint is None
    assert features.ids == sorted(mels)
    assert len(features) == 3
    for name, mel in mels.items():
        assert name in features
        assert features.length(name) == len(mel)
        assert features.read(name).dtype == np.float16
        assert np.array_equal(features.read(name), mel)
        assert np.array_equal(features.read(name, 3, 6), mel[3:6])
        assert np.array_equal(features.read_crop(name, 2, 5), mel[2:7])


def test_the_same_crops_as_from_a_store(folder: Path, mels: dict[str, np.ndarray], tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", Header("mel", (96,))) as writer:
        for name, mel in mels.items():
            writer.append(name, mel)
    store, features = open_features(tmp_path / "store"), open_features(folder)
    assert isinstance(store, Store)
    assert store.ids == features.ids
    for name in mels:
        for start, length in [(0, 3), (5, 30), (0, 100)]:
            assert np.array_equal(store.read_crop(name, start, length), features.read_crop(name, start, length))


def test_it_travels_to_workers(folder: Path, mels: dict[str, np.ndarray]) -> None:
    features = UpstreamFolder(folder)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        crop = pool.submit(features.read_crop, "b/2.mmap", 3, 20).result(timeout=240)
    assert np.array_equal(crop, mels["b/2.mmap"][3:23])


def test_ranges_and_unknown_ids_are_refused(folder: Path) -> None:
    features = open_features(folder)
    with pytest.raises(StoreError, match=r"'a/1.mmap' has rows 0 to 7; 0 to 8 asked for"):
        features.read("a/1.mmap", 0, 8)
    with pytest.raises(StoreError, match="'9' is not in"):
        features.length("9")


@pytest.mark.parametrize(("name", "size"), [("bad.mmap", 193), ("empty.mmap", 0)])
def test_files_of_another_size_are_named(folder: Path, name: str, size: int) -> None:
    (folder / name).write_bytes(b"\0" * size)
    with pytest.raises(StoreError, match=rf"1 file below .*{name} \({size} bytes, not a multiple of 192"):
        open_features(folder)


def test_arrays_of_another_shape_are_named(folder: Path) -> None:
    np.save(folder / "bands.npy", np.zeros((10, 128), np.float16))
    with pytest.raises(StoreError, match=r"bands.npy \(float16 \(10, 128\)\)"):
        open_features(folder)


def test_a_file_that_changed_is_named(folder: Path) -> None:
    features = open_features(folder)
    (folder / "b/2.mmap").write_bytes(b"")
    with pytest.raises(StoreError, match=r"b/2.mmap changed since"):
        features.read("b/2.mmap")


def test_what_is_neither_store_nor_mels_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"neither a store \(header.json\) nor any .mmap or .npy"):
        open_features(tmp_path / "empty")
    with pytest.raises(StoreError, match="is not a folder"):
        open_features(tmp_path / "missing")
    with pytest.raises(StoreError, match="per-track mels, logits is needed"):
        open_features(folder, kind="logits")
