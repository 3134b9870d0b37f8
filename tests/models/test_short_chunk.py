"""Short-chunk CNN and ResNet against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.errors import InputError
from models.frontends import build
from models.network import Network
from models.short_chunk import ShortChunkCNN, ShortChunkResNet
from tests.models.taggers import (
    State,
    convolved,
    loaded_from_published,
    norm,
    published_layout,
    same_weights,
    spectrogram,
    two_dense,
    with_statistics,
)

COUNTS = {ShortChunkCNN: (3_687_348, 65), ShortChunkResNet: (12_104_244, 163)}
# Channels, bands and frames of a window, layer by layer.
CELLS = {
    ShortChunkCNN: [
        (128, 64, 115), (128, 32, 57), (256, 16, 28), (256, 8, 14), (256, 4, 7), (256, 2, 3), (512, 1, 1),
    ],
    ShortChunkResNet: [
        (128, 64, 116), (128, 32, 58), (256, 16, 29), (256, 8, 15), (256, 4, 8), (256, 2, 4), (512, 1, 2),
    ],
}  # fmt: skip


@pytest.fixture(scope="module", params=COUNTS, ids=lambda kind: kind.name)
def network(request) -> Network:
    torch.manual_seed(0)
    return with_statistics(request.param())


def by_definition(state: State, x: Tensor) -> Tensor:
    """Logits of levels `[batch, frames, bands]`, by the layers of the paper."""
    x = norm(state, "spec_bn", x.transpose(1, 2)[:, None])
    for layer in (f"layer{number}" for number in range(1, 8)):
        if f"{layer}.conv.weight" in state:
            x = F.max_pool2d(F.relu(convolved(state, f"{layer}.conv", f"{layer}.bn", x)), 2)
        else:
            inner = F.relu(convolved(state, f"{layer}.conv_1", f"{layer}.bn_1", x, stride=2))
            shortcut = convolved(state, f"{layer}.conv_3", f"{layer}.bn_3", x, stride=2)
            x = F.relu(convolved(state, f"{layer}.conv_2", f"{layer}.bn_2", inner) + shortcut)
    assert x.shape[2] == 1
    return two_dense(state, x[:, :, 0].max(2).values)


def test_parameters_and_entries_are_those_of_the_paper(network):
    parameters, entries = COUNTS[type(network)]
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(published_layout(network)) == entries


def test_every_layer_has_the_shape_of_the_paper(network):
    layers = network.layer_names[:-1]
    with torch.no_grad():
        cells = network.run_layers(spectrogram(network.window, 128, batch=1), layers)
    assert [tuple(cells[name].shape[1:]) for name in layers] == CELLS[type(network)]


@pytest.mark.parametrize("frames", [231, 500])
def test_logits_equal_the_definition_whatever_the_length(network, frames):
    x = spectrogram(frames, 128)
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_definition(network.state_dict(), x), atol=1e-4, rtol=0)


def test_the_shortest_input_is_classified(network):
    audio = torch.zeros(1, {ShortChunkCNN: 32_512, ShortChunkResNet: 257}[type(network)])
    frontend = build("mel_db", bands=128)
    assert frontend.n_samples(network.min_frames) <= audio.shape[1]
    with torch.no_grad():
        assert network(frontend(audio)).shape == (1, 50)


def test_published_layouts_load_strictly(network, tmp_path):
    for found in loaded_from_published(network, tmp_path):
        assert same_weights(network, found.network)
        assert found.frontend.item_shape == (128,)


def test_other_widths_follow_from_the_tensors(network, tmp_path):
    small = type(network)(n_classes=3, channels=[2, 3, 4, 5, 6, 7, 8])
    assert all(same_weights(small, found.network) for found in loaded_from_published(small, tmp_path))
    with pytest.raises(ValueError, match=r"channels=\[2, 3\]: expected 7 numbers"):
        type(network)(channels=[2, 3])


def test_too_few_bands_are_refused_before_anything_is_computed():
    with pytest.raises(InputError, match=r"model.frontend=mel_db makes 96 bands.*short_chunk needs at least 128"):
        ShortChunkCNN.derive(build("mel_db"), 231, 50)
    assert ShortChunkResNet.derive(build("mel_db"), 231, 50) == {"n_classes": 50}
