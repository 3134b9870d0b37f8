"""Statistics and duplicates of stored features."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.measures import distribution, same_features, seconds_of
from datasets.store import Header, Store, StoreWriter
from datasets.upstream import open_features

HEADER = Header("mel", (96,), "float16", fingerprint="f")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Five tracks, two of them equal, in two shards."""
    folder, draws = tmp_path_factory.mktemp("measures") / "mels", np.random.default_rng(0)
    arrays = {f"{n}.ogg": (draws.random((20 + 7 * n, 96)) * (n + 1) - 1).astype(np.float16) for n in range(4)}
    arrays["0.ogg copy"] = arrays["0.ogg"]
    with StoreWriter(folder, HEADER, shard_bytes=10_000) as writer:
        for identity, rows in arrays.items():
            writer.append(identity, rows, duration=float("nan") if identity == "1.ogg" else 5.0)
    return Store(folder), arrays


def test_f21_the_deviation_is_that_of_all_values_at_once_and_not_the_mean_over_tracks(store):
    reader, arrays = store
    found = distribution(reader, arrays)
    everything = np.concatenate(list(arrays.values())).astype(np.float64)
    assert found.count == everything.size
    assert found.mean == pytest.approx(everything.mean(), rel=1e-12)
    assert found.deviation == pytest.approx(everything.std(), rel=1e-12)
    within = np.mean([rows.astype(np.float64).std() for rows in arrays.values()])
    assert abs(found.deviation - within) > 0.1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([f"{n}.ogg" for n in range(4)]), min_size=1, unique=True))
def test_some_tracks_in_any_order(store, chosen):
    reader, arrays = store
    everything = np.concatenate([arrays[one] for one in chosen]).astype(np.float64)
    steps = []
    found = distribution(reader, chosen, lambda: steps.append(1))
    assert (found.mean, found.deviation) == pytest.approx((everything.mean(), everything.std()), rel=1e-12)
    assert distribution(reader, chosen[::-1]) == found
    assert len(steps) == len(chosen)


def test_equal_features_are_found_whatever_the_checksums(store, tmp_path):
    reader, arrays = store
    assert same_features(reader, arrays) == [("0.ogg", "0.ogg copy")]
    assert same_features(reader, ["0.ogg", "1.ogg"]) == []
    with StoreWriter(tmp_path / "own", HEADER) as writer:
        for identity, rows in arrays.items():
            writer.append(identity, rows, checksum=f"file {identity}")
    assert same_features(Store(tmp_path / "own"), arrays) == [("0.ogg", "0.ogg copy")]


def test_tracks_that_share_a_checksum_by_chance_are_not_the_same(tmp_path, store):
    _, arrays = store
    with StoreWriter(tmp_path / "mels", HEADER) as writer:
        for number, identity in enumerate(("a", "b", "c")):
            writer.append(identity, arrays["0.ogg"] + np.float16(number // 2), checksum="crc32:00000000")
    assert same_features(Store(tmp_path / "mels"), "abc") == [("a", "b")]


def test_a_folder_of_single_files_is_measured_too(store, tmp_path):
    _, arrays = store
    for identity, rows in arrays.items():
        np.save(tmp_path / f"{identity}.npy", rows)
    reader = open_features(tmp_path)
    assert same_features(reader, reader.ids) == [("0.ogg copy.npy", "0.ogg.npy")]
    assert distribution(reader, ["2.ogg.npy"]).mean == pytest.approx(arrays["2.ogg"].astype(float).mean())
    assert seconds_of(reader, ["1.ogg.npy", "0.ogg.npy"], 10.0).tolist() == [2.7, 2.0]


def test_lengths_are_those_of_the_audio_where_they_are_known(store):
    assert seconds_of(store[0], ["2.ogg", "1.ogg"], 10.0).tolist() == [5.0, 2.7]
    assert seconds_of(store[0], [], 10.0).shape == (0,)
