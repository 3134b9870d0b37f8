"""CNN14 against its definition, librosa's bands, and the published package with the same weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.encoder import Encoder
from models.checkpoints import initialise, load_checkpoint
from models.cnn14 import CNN14, CNN14At8kHz, CNN14At16kHz, audioset_labels
from models.network_input import own_frontend
from tests.models.taggers import with_statistics
from tests.peers import panns_labels, peer

KINDS = (CNN14, CNN14At16kHz, CNN14At8kHz)
SMALL = (4, 4, 6, 6, 8, 16)
KEYS = ("running_mean", "running_var", "weight", "bias")


def small(kind: type[CNN14] = CNN14, **arguments: Any) -> CNN14:
    torch.manual_seed(0)
    return with_statistics(kind(**{"channels": SMALL, **arguments}))


def published_layout(network: CNN14) -> dict[str, Any]:
    """A file as PANNs' training saves it: tensors with the front end's, and a sampler's state of numpy."""
    n_fft = network.frontend_arguments["n_fft"]
    stft = torch.zeros(n_fft // 2 + 1, 1, n_fft)
    front_end = {
        "spectrogram_extractor.stft.conv_real.weight": stft,
        "spectrogram_extractor.stft.conv_imag.weight": stft,
        "logmel_extractor.melW": torch.zeros(n_fft // 2 + 1, 64),
    }
    sampler = {"indexes": [np.arange(7), np.array([], np.int64)], "queue": [np.int64(3)], "share": np.float32(0.5)}
    return {"iteration": 3, "model": {**front_end, **network.state_dict()}, "sampler": sampler}


def by_definition(state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and embedding of levels `[batch, frames, bands]`, by the layers of the paper."""
    mean, variance, weight, bias = (state[f"bn0.{key}"] for key in KEYS)
    x = ((x - mean) / torch.sqrt(variance + 1e-5) * weight + bias)[:, None]
    for block in range(1, 7):
        for part in (1, 2):
            x = F.conv2d(x, state[f"conv_block{block}.conv{part}.weight"], padding=1)
            x = F.relu(F.batch_norm(x, *(state[f"conv_block{block}.bn{part}.{key}"] for key in KEYS)))
        x = F.avg_pool2d(x, 2) if block < 6 else x
    x = x.mean(3)
    x = x.max(2).values + x.mean(2)
    embedding = F.relu(F.linear(x, state["fc1.weight"], state["fc1.bias"]))
    return F.linear(embedding, state["fc_audioset.weight"], state["fc_audioset.bias"]), embedding


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """Layers and `forward` of the published package, with an eighth of the channels, so that it takes no minute."""
    peer("matplotlib.pyplot")  # looks through the fonts in the home directory, which changes here:
    panns_labels(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    panns = peer("panns_inference.models")
    torch.manual_seed(0)
    network = panns.Cnn14.__new__(panns.Cnn14)
    torch.nn.Module.__init__(network)
    network.spectrogram_extractor = panns.Spectrogram(1024, 320)
    network.logmel_extractor = panns.LogmelFilterBank(32_000, 1024, 64, 50, 14_000, top_db=None)
    network.bn0 = torch.nn.BatchNorm2d(64)
    widths = (1, 8, 16, 32, 64, 128, 256)
    for number, (before, after) in enumerate(pairwise(widths), start=1):
        setattr(network, f"conv_block{number}", panns.ConvBlock(before, after))
    network.fc1, network.fc_audioset = torch.nn.Linear(256, 256), torch.nn.Linear(256, 527)
    with_statistics(network)
    network.bn0.running_mean.fill_(-30.0)
    network.bn0.running_var.fill_(300.0)
    return network


def test_parameters_and_entries_are_those_of_the_paper():
    with torch.device("meta"):
        network = CNN14()
    assert sum(parameter.numel() for parameter in network.parameters()) == 80_753_615
    assert sum(buffer.numel() for buffer in network.buffers()) == 16_269
    n_fft, bands = 1024, 64
    front_end = 2 * (n_fft // 2 + 1) * n_fft + (n_fft // 2 + 1) * bands
    assert 80_753_615 + front_end == 81_837_071
    assert len(network.state_dict()) + 3 == 84


def test_every_layer_has_the_shape_of_the_paper():
    network = small()
    with torch.no_grad():
        cells = network.run_layers(torch.zeros(1, network.window, 64), network.layer_names)
    shapes = [(4, 500, 32), (4, 250, 16), (6, 125, 8), (6, 62, 4), (8, 31, 2), (16, 31, 2), (16, 1)]
    assert [tuple(cells[name].shape[1:]) for name in network.layer_names] == shapes
    assert network.default_layer == "penultimate"


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_embedding_equal_the_definition(kind):
    network, x = small(kind), torch.randn(2, 201, 64) * 20 - 40
    with torch.no_grad():
        logits, tokens = network.forward_and_embed(x, ["penultimate"])
        expected, embedding = by_definition(network.state_dict(), x)
        torch.testing.assert_close(logits, expected)
        torch.testing.assert_close(tokens["penultimate"][:, 0], embedding)
        torch.testing.assert_close(network.prepared()(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_front_end_has_librosa_bands_and_windows_of_ten_seconds(kind):
    librosa = peer("librosa")
    frontend, given = own_frontend(kind), kind.frontend_arguments
    bands = librosa.filters.mel(
        sr=given["sample_rate"], n_fft=given["n_fft"], n_mels=64, fmin=given["low"], fmax=given["high"]
    )
    np.testing.assert_allclose(frontend.filters.T.numpy(), bands, rtol=2e-7, atol=1e-9)
    assert frontend.n_frames(kind.window_samples) == kind.window == 1001
    assert kind.window_samples == 10 * frontend.sample_rate


def test_audio_to_outputs_equals_the_published_package(published, tmp_path):
    torch.save({"model": published.state_dict()}, tmp_path / "Cnn14.pth")
    encoder = Encoder.load(str(tmp_path / "Cnn14.pth"))
    audio = 0.1 * torch.randn(320_000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = published(audio[None])
    scores, tokens = encoder.predict(audio, 32_000).whole, encoder.embed(audio, 32_000)["penultimate"]
    assert np.abs(scores - expected["clipwise_output"][0].numpy()).max() < 1e-4
    assert np.abs(tokens[0, 0] - expected["embedding"][0].numpy()).max() < 1e-4
    assert expected["clipwise_output"].std() > 0.1
    assert encoder.labels == audioset_labels()


def test_there_are_527_different_names():
    assert len(set(audioset_labels())) == len(audioset_labels()) == 527
    assert [audioset_labels()[at] for at in (0, 137, 526)] == ["Speech", "Music", "Field recording"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("legacy", [True, False])
def test_a_published_file_tells_rate_and_names(kind, legacy, tmp_path):
    network = small(kind)
    torch.save(published_layout(network), tmp_path / "Cnn14.pth", _use_new_zipfile_serialization=not legacy)
    found = load_checkpoint(tmp_path / "Cnn14.pth")
    assert type(found.network) is kind
    assert found.frontend.sample_rate == kind.frontend_arguments["sample_rate"]
    assert (found.metadata["labels"], found.metadata["licence"]) == (list(audioset_labels()), "CC BY 4.0")
    x = torch.randn(1, 64, 64)
    with torch.no_grad():
        assert torch.equal(found.network(x), network(x))


def test_a_file_of_other_classes_has_no_names_and_starts_a_training_of_others(tmp_path):
    torch.save(published_layout(small(n_classes=6)), tmp_path / "Cnn14.pth")
    assert load_checkpoint(tmp_path / "Cnn14.pth").metadata == {}
    started = CNN14(channels=SMALL, n_classes=9)
    report = initialise(started, tmp_path / "Cnn14.pth")
    assert report.reinitialised == ["fc_audioset.weight", "fc_audioset.bias"]
    assert torch.equal(started.fc1.weight, small(n_classes=6).fc1.weight)


@pytest.mark.parametrize("bands", [32, 96])
def test_any_number_of_bands_from_32_on(bands):
    network = small(bands=bands, n_classes=3)
    assert network(torch.zeros(2, 32, bands)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"31 bands.*at least 32"):
        CNN14(bands=31)


def test_short_clips_are_centred_in_silence_and_fewer_than_32_frames_refused():
    network = small(n_classes=3)
    audio = 0.1 * torch.randn(8000)
    padded = F.pad(audio, (156_000, 156_000))
    encoder = Encoder.of(network)
    np.testing.assert_array_equal(encoder.predict(audio, 32_000).whole, encoder.predict(padded, 32_000).whole)
    with pytest.raises(ValueError, match=r"\[1, 31, 64\].*at least 32"):
        network(torch.zeros(1, 31, 64))


def test_the_embedding_of_a_training_is_that_of_its_values_not_of_dropout():
    network = small().train()
    torch.nn.init.zeros_(network.fc1.weight)
    torch.nn.init.ones_(network.fc1.bias)
    assert torch.equal(network.embed(torch.randn(2, 32, 64), ["penultimate"])["penultimate"], torch.ones(2, 1, 16))


def test_parameters_of_the_embedding_are_a_layer_of_their_own():
    layers = small().parameter_layers()
    assert layers[0] == ["bn0.weight", "bn0.bias"]
    assert layers[-2:] == [["fc1.weight", "fc1.bias"], ["fc_audioset.weight", "fc_audioset.bias"]]
