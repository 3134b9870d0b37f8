"""Encoding: where crops lie, and what is found again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from datasets.store import Header, Store, StoreWriter
from datasets.windows import Plan
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.tracks.data import DataSource
from experiments.transfer.encoding import CropJob, encode
from experiments.windowing import Windowing
from models.frontends import build
from models.network import Network

WINDOW, RATE = 100, 8000


class Levels(Network):
    """Means of a window of samples, scaled, and a head; of dropout only training knows."""

    frontend = "waveform"
    window = window_samples = min_frames = max_frames = WINDOW
    layer_names = ("means",)

    def __init__(self, n_classes: int = 2, flat: bool = True) -> None:
        super().__init__()
        self.n_classes, self.flat = n_classes, flat
        self.scale, self.dropout = nn.Linear(2, 3), nn.Dropout(0.5)
        self.head = nn.Linear(3, n_classes)

    def embed(self, x: Tensor, layers: list[str]) -> dict[str, Tensor]:
        means = torch.stack([x.mean(1), x.abs().mean(1)], 1)
        return {"means": self.dropout(self.scale(means))[:, None]}

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x, ["means"])["means"]
        return self.head(tokens[:, 0]) if self.flat else self.head(tokens)[:, 0]


@dataclass
class Lengths:
    """A reader that knows lengths alone."""

    rows: int

    def length(self, identity: str) -> int:
        return self.rows


def job(rows: int, seed: int) -> CropJob:
    return CropJob(Lengths(rows), Windowing(WINDOW, Plan(WINDOW, WINDOW), RATE), None, [], 1, seed)


@given(st.integers(1, 10_000), st.integers(0, 2**40), st.text(max_size=20))
def test_a_crop_lies_within_its_track_and_follows_from_seed_and_name(rows, seed, name):
    (start,) = job(rows, seed).starts(name)
    assert 0 <= start <= max(rows - WINDOW, 0)
    assert job(rows, seed).starts(name) == [start]


def test_crops_lie_anywhere():
    starts = np.array([job(WINDOW + 9, 0).starts(f"track {number}") for number in range(2000)])
    counts = np.bincount(starts.ravel(), minlength=10)
    assert len(counts) == 10
    assert counts.min() > 150
    assert job(10_000, 0).starts("a") != job(10_000, 1).starts("a")


@pytest.fixture
def source(tmp_path, monkeypatch) -> DataSource:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    header = Header("audio", (), "int16", "sample", {"sample_rate": RATE}, "samples")
    with StoreWriter(tmp_path / "audio", header) as writer:
        for number, rows in enumerate((100, 350, 60, 1000)):
            writer.append(f"{number}.wav", rng.integers(-9000, 9000, rows).astype(np.int16))
    features = Store(tmp_path / "audio")
    return DataSource("tones", tmp_path / "audio", features, build("waveform", sample_rate=RATE), audio=True)


def encoder(seed: int = 0, **arguments) -> Encoder:
    torch.manual_seed(seed)
    network = Levels(**arguments).train()
    made = Encoder.of(network, build("waveform", sample_rate=RATE), input="audio", weights=f"seed {seed}", device="cpu")
    network.train()
    return made


def encoded(source: DataSource, ids: list[str] | None = None, seed: int | None = None, made=None) -> Store:
    made = made or encoder()
    return encode(made, source, made.windowing(), ids or list(source.features.ids), 3, seed)


def test_what_was_stopped_is_gone_on_with(source, capsys):
    encoded(source, ["1.wav", "3.wav"])
    assert "encoded, all windows: 2 now, 0 before" in capsys.readouterr().err
    store = encoded(source)
    assert "encoded, all windows: 2 now, 2 before" in capsys.readouterr().err
    assert [len(store.read(name)) for name in ("0.wav", "1.wav", "2.wav", "3.wav")] == [1, 3, 1, 10]
    assert store.header.dtype == "float32"


def test_a_store_is_of_a_network_and_a_seed_whatever_the_head(source):
    places = [encoded(source, seed=seed).path for seed in (None, 0, 1)]
    places.append(encoded(source, made=encoder(seed=1)).path)
    assert len(set(places)) == 4
    assert encoded(source, made=encoder(n_classes=7)).path == places[0]


def test_nothing_is_dropped(source):
    made = encoder()
    store = encoded(source, made=made)
    network = made.network.eval()
    samples = torch.from_numpy(source.features.read("1.wav")[:WINDOW].astype(np.float32) / 2**15)
    expected = network.embed(samples[None], ["means"])["means"][0, 0].detach()
    np.testing.assert_allclose(store.read("1.wav")[0], expected, atol=1e-6)


def test_other_audio_of_the_same_name_is_encoded_anew(source, capsys):
    store = encoded(source)
    Path(store.path, "header.json").write_text("{}")
    assert len(encoded(source).ids) == 4
    assert "encoded anew" in capsys.readouterr().err


def test_a_head_that_sees_more_than_a_vector_is_refused(source):
    with pytest.raises(UserError, match=r"module\.encode: the head of .*sees an array of shape \[1, 3\]"):
        encoded(source, made=encoder(flat=False))
