"""The network of the library musicnn against its definition, librosa's mel energies, and the scores of TensorFlow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.encoder import Encoder
from models.frontends import build
from models.musicnn_original import MusicnnOriginal
from models.musicnn_wheel import network_state
from preprocess import load
from tests.models.tensorflow_files import SIZES
from tests.models.tensorflow_files import TENSORS as ALL
from tests.peers import peer

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data"
SCORES = PUBLISHED / "weights" / "music_tagging" / "musicnn_original.json"
TENSORS = ALL["MTT_musicnn"]


@pytest.fixture
def network() -> MusicnnOriginal:
    network = MusicnnOriginal(**SIZES)
    network.load_state_dict(network_state(TENSORS))
    return network.eval()


def by_definition(x: Tensor, tensors: dict[str, np.ndarray] = TENSORS) -> dict[str, Tensor]:
    """What the library calls its features, and logits, of energies [batch, frames, 96], by TensorFlow's names."""
    t = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}

    def norm(x: Tensor, number: int) -> Tensor:
        name = f"batch_normalization{f'_{number}' if number else ''}"
        mean, variance, gamma, beta = (
            t[f"{name}/{key}"].view(1, -1, *[1] * (x.ndim - 2))
            for key in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return (x - mean) / (variance + 1e-3).sqrt() * gamma + beta

    def conv(x: Tensor, number: int, before: int, behind: int) -> Tensor:
        name = f"conv2d{f'_{number}' if number else ''}"
        x = F.conv2d(F.pad(x, (0, 0, before, behind)), t[f"{name}/kernel"].permute(3, 2, 0, 1), t[f"{name}/bias"])
        return norm(F.relu(x), number + 1)

    x = norm(torch.log10(10_000 * x + 1)[:, None], 0)
    timbral = torch.cat([conv(x, number, 3, 3).max(3).values for number in (0, 1)], 1)
    # TensorFlow's "same": an even filter has one zero more behind than before
    pads = [(63, 64), (31, 32), (15, 16)]
    temporal = torch.cat([conv(x, number, *pad).max(3).values for number, pad in enumerate(pads, start=2)], 1)
    layers = [torch.cat([timbral, temporal], 1)]
    for number in (5, 6, 7):
        image = layers[-1].transpose(1, 2)[:, None]  # channels in the place of the bands
        layers.append(conv(image, number, 3, 3)[..., 0] + (layers[-1] if number > 5 else 0))
    dense = torch.cat(layers, 1)
    max_pool, mean_pool = dense.max(2).values, dense.mean(2)
    pooled = norm(torch.stack([max_pool, mean_pool], 2).reshape(len(x), -1), 9)
    penultimate = norm(F.relu(pooled @ t["dense/kernel"] + t["dense/bias"]), 10)
    logits = penultimate @ t["dense_1/kernel"] + t["dense_1/bias"]
    over_time = dict(
        zip(("timbral", "temporal", "cnn1", "cnn2", "cnn3"), (timbral, temporal, *layers[1:]), strict=True)
    )
    means = {name: cells.mean(2) for name, cells in over_time.items()}
    return {**means, "mean_pool": mean_pool, "max_pool": max_pool, "penultimate": penultimate, "logits": logits}


def test_parameters_are_those_of_the_library():
    network = MusicnnOriginal()
    assert sum(parameter.numel() for parameter in network.parameters()) == 787_159
    assert len(network.state_dict()) == 75
    named = [name for layer in network.parameter_layers() for name in layer]
    assert sorted(named) == sorted(name for name, _ in network.named_parameters())


@pytest.mark.parametrize("frames", [1, 40, 187, 300])
def test_logits_and_features_equal_the_definition(network, frames):
    x = torch.rand(2, frames, 96, generator=torch.Generator().manual_seed(0)) ** 8
    expected = by_definition(x)
    with torch.no_grad():
        logits, tokens = network.forward_and_embed(x, network.layer_names)
        torch.testing.assert_close(network(x), expected["logits"], atol=1e-5, rtol=1e-5)
    assert torch.equal(logits, network(x))
    for name in network.layer_names:
        torch.testing.assert_close(tokens[name][:, 0], expected[name], atol=1e-5, rtol=1e-5)
        assert network.embedding_shape(name, (96,)) == tuple(tokens[name].shape[1:])


@pytest.mark.parametrize("shape", [(2, 187, 128), (187, 96), (1, 0, 96)])
def test_other_input_is_refused(network, shape):
    with pytest.raises(ValueError, match=r"expected \[batch, frames, 96\]"):
        network(torch.zeros(shape))


def test_front_end_equals_librosas_energies():
    """Its filters, and the spectra that it computes in float64 of audio that continues with zeros."""
    filters = peer("librosa").filters.mel(sr=16_000, n_fft=512, n_mels=96)
    audio = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, 256), 512)[::256]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    spectra = np.abs(np.fft.rfft(frames * window).astype(np.complex64)) ** 2
    theirs = (spectra @ filters.T).astype(np.float16)
    ours = build("musicnn_original")(torch.from_numpy(audio)).numpy()
    assert ours.shape == theirs.shape == (1 + 40_000 // 256, 96)
    assert (ours != theirs).mean() < 1e-3  # of the few, the last digit of float32 decides
    np.testing.assert_allclose(ours, theirs, rtol=2e-3)


def test_a_store_holds_the_features_exactly_and_loud_audio_is_finite(network):
    audio = torch.linspace(-1, 1, 3).repeat(20_000) * 1000
    ours = build("musicnn_original")(audio)
    assert torch.equal(ours, ours.half().float())
    assert torch.isfinite(network(ours[None])).all()


def test_audio_to_scores_equals_the_definition(network):
    audio = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, 16_000 * 8).astype(np.float32))
    energies = build("musicnn_original")(audio)
    windows = torch.stack([energies[:187], energies[187:374]])
    prediction = Encoder.of(network).predict(audio, 16_000)
    expected = by_definition(windows)["logits"].sigmoid().numpy()
    np.testing.assert_allclose(prediction.over_time, expected, atol=1e-5)
    np.testing.assert_allclose(prediction.whole, expected.mean(0), atol=1e-5)
    assert prediction.window == 187 * 256 / 16_000


@pytest.mark.skipif(not SCORES.is_file(), reason="the scores of TensorFlow are not part of the project")
@pytest.mark.parametrize("corpus", ["mtt", "msd"])
def test_scores_of_the_published_networks_on_real_clips(corpus):
    """Needs the published wheel too, from the cache or the index."""
    encoder = Encoder.load(f"musicnn_original_{corpus}")
    known, key = json.loads(SCORES.read_text(encoding="utf-8")), f"{corpus.upper()}_musicnn"
    assert list(encoder.labels) == known["labels"][key]
    for number, (name, expected) in enumerate(list(known["scores"][key].items())[::6]):
        prediction = encoder.predict(load(PUBLISHED / name, 16_000), 16_000)
        assert np.abs(prediction.whole - expected).max() < 1e-5
        if not number:
            assert np.abs(prediction.over_time - known["windows"][key]).max() < 1e-5
