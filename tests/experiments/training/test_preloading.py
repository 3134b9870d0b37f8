"""Preloaded tracks give the crops that a reader gives, bit by bit; memory decides whether they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import default_collate

from datasets.clips import RandomCrops
from datasets.store import Header, Store, StoreWriter
from experiments.errors import UserError
from experiments.training import preloading
from experiments.training.preloading import GIB, Preloaded, fits

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
LENGTHS = {"a.ogg": 300, "b.ogg": 25, "c.ogg": 41, "d.ogg": 40}
IDS = list(LENGTHS)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    folder, rng = tmp_path_factory.mktemp("stores"), np.random.default_rng(0)
    headers = {"mel": Header("mel", (3,), fill=-100.0), "audio": Header("audio", (), "int16")}
    for name, header in headers.items():
        with StoreWriter(folder / name, header) as writer:
            for identity, rows in LENGTHS.items():
                writer.append(identity, rng.integers(-900, 900, (rows, *header.item_shape)).astype(header.dtype))
    return {name: Store(folder / name) for name in headers}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["mel", "audio"]),
    views=st.integers(1, 3),
    behind=st.booleans(),
    speeds=st.sampled_from([None, (0.5, 1.0), (0.9, 1.6)]),
    draws=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**62)), min_size=1, max_size=6),
)
def test_crops_are_those_of_the_store_bit_by_bit(stores, kind, views, behind, speeds, draws):
    def batch(places_only: bool) -> dict[str, torch.Tensor]:
        crops = RandomCrops(
            stores[kind], IDS, None, 40, views=views, behind=behind, speeds=speeds, places_only=places_only
        )
        return default_collate([crops[draw] for draw in draws])

    read, placed = batch(False), batch(True)
    assert "x" not in placed
    length = 40 if speeds is None else math.ceil(40 * max(speeds[1], 1.0) + 1)
    x = Preloaded(stores[kind], IDS, length, CPU).crops(placed["track"], placed["start"])
    assert x.dtype == read["x"].dtype
    assert torch.equal(x, read["x"])
    for key, values in placed.items():
        assert torch.equal(values, read[key])


@pytest.mark.parametrize(("available", "loaded"), [(3.0, True), (1.9, False)])
def test_audio_is_preloaded_where_a_gpu_has_twice_its_size_free(stores, monkeypatch, capsys, available, loaded):
    monkeypatch.setattr(preloading, "size", lambda features, ids: GIB)
    monkeypatch.setattr(preloading, "free", lambda device: int(available * GIB))
    assert fits("auto", stores["audio"], IDS, CUDA) is loaded
    said = capsys.readouterr().err
    assert f"1 GiB of training tracks, {available:g} GiB free on cuda:0" in said
    assert said.count("\n") == 1
    if loaded:
        assert fits("device", stores["audio"], IDS, CUDA)
    else:
        with pytest.raises(UserError, match=r"preload=device: 1 GiB of training tracks, 1\.9 GiB free .* needs 50%"):
            fits("device", stores["audio"], IDS, CUDA)


def test_nothing_is_preloaded_unasked_beside_a_cpu_nor_of_features(stores, monkeypatch, capsys):
    monkeypatch.setattr(preloading, "free", lambda device: 2**40)
    assert not fits("auto", stores["audio"], IDS, CPU)
    assert not fits("auto", stores["mel"], IDS, CUDA)
    assert not fits("no", stores["audio"], IDS, CUDA)
    assert fits("device", stores["mel"], IDS, CPU)
    assert capsys.readouterr().err == ""


def test_the_size_of_tracks_is_that_of_their_rows(stores):
    assert preloading.size(stores["audio"], IDS) == 2 * sum(LENGTHS.values())
    assert preloading.size(stores["mel"], IDS[:2]) == 2 * 3 * 325
    assert preloading.free(CPU) > 0
