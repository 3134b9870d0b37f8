"""Crops around the ends of tracks, and stores made before headers and indices had all of today's fields."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.store import Header, Store, StoreError, StoreWriter
from datasets.upstream import UpstreamFolder
from datasets.windows import centred_padding


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with StoreWriter(tmp_path / "store", Header("mel", (96,), fingerprint="a" * 16)) as writer:
        writer.append("older", np.ones((5, 96), np.float16))
    return tmp_path / "store"


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 60),
    length=st.integers(1, 80),
    place=st.floats(0, 1),
    fill=st.sampled_from([0.0, -100.0, 7.0]),
    audio=st.booleans(),
)
def test_a_crop_is_a_slice_of_the_whole_centred_in_fill(
    tmp_path_factory: pytest.TempPathFactory, rows: int, length: int, place: float, fill: float, audio: bool
) -> None:
    folder = tmp_path_factory.mktemp("crops")
    shape, dtype = ((), "int16") if audio else ((2,), "float16")
    array = np.arange(1, 1 + rows * math.prod(shape)).reshape(rows, *shape).astype(dtype)
    neighbour = np.full((3, *shape), 99, dtype)
    with StoreWriter(folder, Header("audio" if audio else "mel", shape, dtype, fill=fill)) as writer:
        for id, stored in (("before", neighbour), ("x", array), ("z", neighbour)):
            writer.append(id, stored)
    start = round(place * (rows - 1))
    held = array[start : start + length]
    padding = [centred_padding(len(held), length)] + [(0, 0)] * len(shape)
    crop = Store(folder).read_crop("x", start, length)
    np.testing.assert_array_equal(crop, np.pad(held, padding, constant_values=fill))
    assert (crop.dtype, crop.flags.writeable) == (np.dtype(dtype), True)


def test_crops_of_audio_at_both_ends(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 100_000).astype(np.int16)
    with StoreWriter(tmp_path, Header("audio", (), "int16")) as writer:
        writer.append("a", samples)
        writer.append("b", -samples[:40_000] // 2)
    store = Store(tmp_path)
    np.testing.assert_array_equal(store.read_crop("a", 0, 59_049), samples[:59_049])
    np.testing.assert_array_equal(store.read_crop("a", 100_000 - 59_049, 59_049), samples[-59_049:])
    crop = store.read_crop("b", 0, 59_049)
    np.testing.assert_array_equal(crop[9524:49524], -samples[:40_000] // 2)
    assert not crop[:9524].any()
    assert not crop[49524:].any()
    with pytest.raises(StoreError, match="'b' has rows 0 to 40000"):
        store.read_crop("b", 40_000, 10)


def test_folders_of_one_file_a_track_pad_with_their_fill(tmp_path: Path) -> None:
    np.ones((5, 96), "<f2").tofile(tmp_path / "a.mmap")
    crop = UpstreamFolder(tmp_path).read_crop("a.mmap", 0, 9)
    assert crop[:, 0].tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 0]


def test_a_header_without_fill_is_zero_and_what_later_versions_add_is_passed_over(path: Path) -> None:
    fields = json.loads((path / "header.json").read_text())
    assert fields.pop("fill") == 0.0
    (path / "header.json").write_text(json.dumps(fields | {"colour": 3}))
    assert Store(path).header.fill == 0.0


def test_stores_of_answers_are_stores_of_predictions(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, Header("predictions", (2,))) as writer:
        writer.append("a", np.ones((1, 2)))
    text = (tmp_path / "header.json").read_text()
    (tmp_path / "header.json").write_text(text.replace("predictions", "answers"))
    for kind in ("answers", "predictions"):
        assert Store(tmp_path, kind=kind).header.kind == "predictions"


def test_an_index_from_before_knows_no_audio(path: Path) -> None:
    table = pq.read_table(path / "index.parquet", read_dictionary=["shard"])
    pq.write_table(table.drop_columns("audio_checksum"), path / "index.parquet")
    store = Store(path)
    assert store.row("older")["audio_checksum"] is None
    with StoreWriter(path, store.header) as writer:
        writer.append("newer", np.zeros((2, 96), np.float16), audio_checksum="crc32:01234567")
    assert Store(path).row("newer")["audio_checksum"] == "crc32:01234567"
    assert Store(path).row("older")["audio_checksum"] is None


def test_stores_of_other_silence_are_not_mixed(path: Path) -> None:
    with pytest.raises(StoreError, match=r"has fill=0.0, -100.0 is to be written"):
        StoreWriter(path, Header("mel", (96,), fingerprint="a" * 16, fill=-100.0))
