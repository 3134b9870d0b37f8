"""A kept probe on tokens of new audio: which encoder is found, what is predicted for windows and for the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.vectors import reduction_named
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.probes.fitted import FittedProbe
from experiments.probes.prediction import NEEDED, _release, command, identity, layers_of_probe, predict, predicting
from experiments.tasks import Emotion, Tagging
from experiments.tracking import RunHandle
from experiments.transfer.settings import TransferSettings
from models.maest import MAEST
from models.probes.grids import ProbeConfig
from models.releases import RELEASES

TAGGING = Tagging(classes=["a", "b", "c"])
RANDOM = np.random.default_rng(0)


def probe(width: int, task=TAGGING, **weights: np.ndarray) -> FittedProbe:
    linear = {"0.weight": RANDOM.normal(size=(task.n_outputs, width)).astype(np.float32)}
    linear["0.bias"] = np.zeros(task.n_outputs, np.float32)
    blocks = len(weights.get("blocks", [0]))
    mean, scale = np.zeros(width * blocks), np.ones(width * blocks)
    return FittedProbe(task, ProbeConfig(), 0, linear | weights, mean, scale, {}, 0.5, 1.0, 0, 8)


@pytest.mark.parametrize("name", ["discogs-maest-30s-pw-129e", "discogs-maest-5s-pw-129e"])
def test_a_published_encoder_is_found_by_its_weights(name):
    assert _release(f"sha256 {RELEASES[name].sha256[:16]}") == name
    for other in ("sha256 0123456789abcdef", "random, seed 0"):
        with pytest.raises(UserError, match=f"a network of your own .{other}."):
            _release(other)


def test_the_command_that_applies_a_probe_names_an_encoder_that_is_not_published():
    def said(weights: str, **more) -> str | None:
        features = {
            "kind": "embeddings",
            "producer": dict.fromkeys((*NEEDED, "block"), 1) | {"weights": weights},
        } | more
        return command("ex_probe.py", features, Path("a b.safetensors"))

    published = next(iter(RELEASES.values())).sha256[:16]
    words = "python ex_probe.py predict with 'probe.file=a b.safetensors'{} inference.audio=AUDIO"
    assert said(f"sha256 {published}") == words.format("")
    assert said("sha256 0123456789abcdef") == words.format(" inference.checkpoint=CHECKPOINT")
    assert said("random, seed 0") is None
    assert said(f"sha256 {published}", producer={"encoder": "mfcc"}) is None


@pytest.mark.parametrize("places", [{"windows": 2}, {"hop": 1.0}, {"half_overlapped_inference": True}])
def test_a_probe_sees_windows_as_it_was_trained_on(places, tmp_path):
    settings = TransferSettings(probe={"file": "probe.safetensors"}, inference=places)
    with pytest.raises(UserError, match=f"inference.{next(iter(places))}=.*as in its training"):
        predict(settings, RunHandle(tmp_path, 0))


@pytest.mark.parametrize(
    ("reduction", "width"),
    [("cls", 4), ("cls+dist+mean", 12), ("mean of cls+dist", 4), ("dist, mean+std of patches", 8)],
)
def test_the_whole_is_predicted_from_its_pooled_tokens_and_a_window_from_its_own(reduction, width):
    tokens, fitted, reduced = (
        RANDOM.normal(size=(5, 1, 3, 4)).astype(np.float16),
        probe(width),
        reduction_named(reduction),
    )
    over_time, whole = predicting(fitted, reduced)(tokens, np.arange(5))
    np.testing.assert_allclose(whole, fitted.predict(reduced.vector(tokens[:, 0])[None])[0], rtol=1e-6)
    assert over_time.shape == (5, 3)
    np.testing.assert_allclose(over_time[2], fitted.predict(reduced.vector(tokens[2:3, 0])[None])[0], rtol=1e-6)


def test_blocks_of_a_learned_sum_stand_side_by_side_in_their_order():
    fitted, reduced = probe(4, blocks=np.array([0.0, 2.0], np.float32)), reduction_named("mean")
    tokens = RANDOM.normal(size=(3, 2, 3, 4)).astype(np.float32)
    _, whole = predicting(fitted, reduced)(tokens, np.arange(3))
    shares = np.exp([0.0, 2.0]) / np.exp([0.0, 2.0]).sum()
    summed = tokens[:, 0, 2].mean(0) * shares[0] + tokens[:, 1, 2].mean(0) * shares[1]
    outputs = fitted.weights["0.weight"] @ summed
    np.testing.assert_allclose(whole, 1 / (1 + np.exp(-outputs)), rtol=1e-4)


def test_probes_that_predict_otherwise_have_other_names():
    one = probe(4)
    same = FittedProbe(**{**vars(one), "value": 0.7})
    other = FittedProbe(**{**vars(one), "mean": np.ones(4)})
    third = probe(4, task=Emotion(mean=[1.0, 2.0], scale=[1.0, 1.0]))
    assert identity(one) == identity(same)
    assert len({identity(one), identity(other), identity(third)}) == 3


@pytest.mark.parametrize(
    ("features", "layers"),
    [
        ({"producer": {"block": 1}}, ["block_01"]),
        ({"producer": {"layer": "block_00", "token_names": ["cls"]}}, ["block_00"]),
        ({"producer": {"block": 0}, "blocks": [1, 0]}, ["block_01", "block_00"]),
        ({"producer": {"layer": "block_00"}, "blocks": ["block_01", "block_00"]}, ["block_01", "block_00"]),
    ],
)
def test_layers_of_a_probe_are_found_by_number_and_by_name(features, layers):
    encoder = Encoder.of(MAEST(n_frames=64, dim=32, depth=2, heads=2), device="cpu")
    assert layers_of_probe(features, encoder) == layers
    with pytest.raises(UserError, match="has the layers"):
        layers_of_probe({"producer": {"layer": "conv3"}}, encoder)
