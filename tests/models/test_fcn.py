"""FCN against its definition, torchaudio's front end, and the scores of the published networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.encoder import Encoder
from models.checkpoints import load_checkpoint
from models.errors import CheckpointError
from models.fcn import FCN
from models.frontends import build
from preprocess import load
from tests.peers import peer

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data"
WEIGHTS = PUBLISHED / "weights" / "music_tagging"
CELLS = ((64, 48, 453), (128, 24, 113), (128, 12, 28), (128, 4, 5), (64, 1, 1))  # channels, bands, frames of a window


@pytest.fixture
def network() -> FCN:
    """Random weights, and statistics of batch norm that are not those of a new network."""
    torch.manual_seed(0)
    network = FCN().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    network.spec_bn.running_mean.fill_(-11.0)
    network.spec_bn.running_var.fill_(364.0)
    return network


def published_layout(network: FCN) -> dict[str, Tensor]:
    """The network's tensors as Won et al. save them, with the front end's that are to be built anew."""
    front_end = {"spec.spectrogram.window": torch.ones(512), "spec.mel_scale.fb": torch.empty(0)}
    return {**front_end, **network.state_dict()}


def by_definition(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Logits by the layers of the paper, one after the other."""

    def norm(x: Tensor, name: str) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{key}"] for key in keys))

    x = norm(x, "spec_bn")
    for number, pool in enumerate([(2, 4), (2, 4), (2, 4), (3, 5), (4, 4)], start=1):
        x = F.conv2d(x, state[f"layer{number}.conv.weight"], state[f"layer{number}.conv.bias"], padding=1)
        x = F.max_pool2d(F.relu(norm(x, f"layer{number}.bn")), pool)
    return F.linear(x.flatten(1), state["dense.weight"], state["dense.bias"])


def test_parameters_and_entries_are_those_of_the_paper(network):
    assert sum(parameter.numel() for parameter in network.parameters()) == 447_732
    assert len(published_layout(network)) == 44


def test_every_layer_has_the_shape_of_the_paper(network):
    seen = []
    for name in network.layer_names:
        getattr(network, name).register_forward_hook(lambda _, inputs, output: seen.append(tuple(output.shape[1:])))
    network(torch.zeros(1, network.window, 96))
    assert tuple(seen) == CELLS


def test_front_end_equals_torchaudio():
    torchaudio = peer("torchaudio")
    audio = torch.randn(2, 40_000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.1], [1e-4]])
    for bands in (96, 128):
        mel = torchaudio.transforms.MelSpectrogram(16_000, n_fft=512, hop_length=256, n_mels=bands, f_max=8000.0)
        theirs = torchaudio.transforms.AmplitudeToDB(stype="power", top_db=None)(mel(audio)).transpose(1, 2)
        ours = build("mel_db", bands=bands)(audio)
        assert ours.shape == theirs.shape == (2, 1 + 40_000 // 256, bands)
        assert (ours - theirs).abs().max() < 1e-4
    assert (ours[..., 0] == -100).all()  # of 128 bands, no bin falls into the lowest


def test_audio_to_scores_equals_the_definition(network):
    torchaudio = peer("torchaudio")
    audio = 0.1 * torch.randn(1, 464_000, generator=torch.Generator().manual_seed(1))
    mel = torchaudio.transforms.MelSpectrogram(16_000, n_fft=512, hop_length=256, n_mels=96, f_max=8000.0)
    level = torchaudio.transforms.AmplitudeToDB(stype="power", top_db=None)(mel(audio))
    with torch.inference_mode():
        theirs = by_definition(network.state_dict(), level[:, None]).sigmoid()[0].numpy()
    ours = Encoder.of(network).predict(audio[0], 16_000).whole
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("seconds", [0.3, 25.0])
def test_shorter_audio_is_centred_in_silence(network, seconds):
    audio = 0.1 * torch.randn(round(16_000 * seconds), generator=torch.Generator().manual_seed(1))
    before = (464_000 - len(audio)) // 2
    padded = F.pad(audio, (before, 464_000 - len(audio) - before))
    encoder = Encoder.of(network)
    np.testing.assert_array_equal(encoder.predict(audio, 16_000).whole, encoder.predict(padded, 16_000).whole)
    assert encoder.predict(audio[::2], 8000).over_time.shape == (1, 50)


@pytest.mark.parametrize("frames", [1280, 1813, 2559])
def test_any_length_that_ends_in_one_cell_is_classified_by_it(network, frames):
    x = torch.randn(2, frames, 96) * 20 - 30
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_definition(network.state_dict(), x.transpose(1, 2)[:, None]))


def test_longer_input_is_classified_by_its_mean_cell_and_shorter_input_is_refused(network):
    assert network(torch.zeros(1, 2560, 96)).shape == (1, 50)
    with pytest.raises(ValueError, match=r"got shape \[1, 1279, 96\].*at least 1280"):
        network(torch.zeros(1, 1279, 96))


def test_embeddings_are_means_over_cells(network):
    x = torch.randn(1, 1300, 96)
    with torch.no_grad():
        logits, tokens = network.forward_and_embed(x, ["layer2", "layer5"])
        assert torch.equal(logits, network(x))
        assert torch.equal(tokens["layer2"], network.embed(x, ["layer2"])["layer2"])
    assert {name: tuple(one.shape) for name, one in tokens.items()} == {"layer2": (1, 1, 128), "layer5": (1, 1, 64)}


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_published_layouts_load_strictly(network, tmp_path, legacy, prefix):
    state = {prefix + key: tensor for key, tensor in published_layout(network).items()}
    content = {"state_dict": state} if prefix else state
    torch.save(content, tmp_path / "best_model.pth", _use_new_zipfile_serialization=not legacy)
    found = load_checkpoint(tmp_path / "best_model.pth")
    assert isinstance(found.network, FCN)
    assert found.frontend.name == "mel_db"
    x = torch.randn(1, 1300, 96)
    with torch.no_grad():
        assert torch.equal(found.network(x), network(x))


def test_a_file_without_a_tensor_is_no_fcn(network, tmp_path):
    state = published_layout(network)
    del state["layer3.bn.bias"]
    torch.save(state, tmp_path / "best_model.pth")
    with pytest.raises(CheckpointError, match="does not tell what network it is of"):
        load_checkpoint(tmp_path / "best_model.pth")


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="published weights and clips are not part of the project")
@pytest.mark.parametrize("corpus", ["mtat", "msd", "jamendo"])
def test_scores_of_published_networks_on_real_clips(corpus):
    scores = json.loads((WEIGHTS / "scores.json").read_text(encoding="utf-8"))
    encoder = Encoder.load(str(WEIGHTS / corpus / "fcn" / "best_model.pth"))
    if corpus == "mtat":
        assert list(encoder.labels) == scores["mtat_tags"]
    for name, expected in list(scores["clips"].items())[::12]:
        audio = load(PUBLISHED / "genre_emotion_tags" / name, 16_000)[:464_000]  # the window that was scored
        assert np.abs(encoder.predict(audio, 16_000).whole - expected[f"{corpus}/fcn"]).max() < 1e-4
