"""FCN against its definition and torchaudio's front end."""

from __future__ import annotations

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
from tests.models.taggers import convolved, loaded_from_published, norm, published_layout, same_weights, with_statistics
from tests.peers import peer

CELLS = ((64, 48, 453), (128, 24, 113), (128, 12, 28), (128, 4, 5), (64, 1, 1))  # channels, bands, frames of a window


@pytest.fixture
def network() -> FCN:
    torch.manual_seed(0)
    return with_statistics(FCN())


def by_definition(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Logits by the layers of the paper, one after the other; of longer input by the mean cell."""
    x = norm(state, "spec_bn", x)
    for number, pool in enumerate([(2, 4), (2, 4), (2, 4), (3, 5), (4, 4)], start=1):
        x = F.max_pool2d(F.relu(convolved(state, f"layer{number}.conv", f"layer{number}.bn", x)), pool)
    return F.linear(x.mean((2, 3)), state["dense.weight"], state["dense.bias"])


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


@pytest.mark.parametrize("frames", [1280, 2560])
def test_logits_equal_the_definition_whatever_the_length(network, frames):
    x = torch.randn(2, frames, 96) * 20 - 30
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_definition(network.state_dict(), x.transpose(1, 2)[:, None]))


def test_published_layouts_load_strictly(network, tmp_path):
    for found in loaded_from_published(network, tmp_path):
        assert same_weights(network, found.network)
        assert found.frontend.description == build("mel_db").description


def test_bands_are_those_of_a_published_filter_bank(network, tmp_path):
    """As in a Lightning checkpoint of a network of 128 bands, whose weights have the shapes of one of 96."""
    state = {**published_layout(network), "spec.mel_scale.fb": build("mel_db", bands=128).filters}
    torch.save({"state_dict": {f"model.{key}": tensor for key, tensor in state.items()}}, tmp_path / "best.ckpt")
    encoder = Encoder.load(str(tmp_path / "best.ckpt"))
    assert encoder.frontend.description == build("mel_db", bands=128).description
    audio = 0.1 * torch.randn(464_000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network(build("mel_db", bands=128)(audio[None])).sigmoid()[0]
    np.testing.assert_allclose(encoder.predict(audio, 16_000).whole, expected, atol=1e-5)
    torch.save({**state, "spec.mel_scale.fb": torch.ones(513, 96)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="expected the 257 bins"):
        load_checkpoint(tmp_path / "other.pth")


def test_a_file_without_a_tensor_is_no_fcn(network, tmp_path):
    state = published_layout(network)
    del state["layer3.bn.bias"]
    torch.save(state, tmp_path / "best_model.pth")
    with pytest.raises(CheckpointError, match="does not tell what network it is of"):
        load_checkpoint(tmp_path / "best_model.pth")
