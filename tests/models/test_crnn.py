"""CRNN against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.crnn import CRNN
from models.frontends import build
from tests.models.taggers import (
    State,
    convolved,
    loaded_from_published,
    norm,
    published_layout,
    same_weights,
    spectrogram,
    with_statistics,
)

CELLS = [(64, 48, 906), (128, 16, 302), (128, 4, 75), (128, 1, 18)]  # channels, bands, frames of a window


@pytest.fixture(scope="module")
def network() -> CRNN:
    torch.manual_seed(0)
    return with_statistics(CRNN())


def last_state(state: State, steps: Tensor, layer: int) -> Tensor:
    """Units of a recurrent layer after every step, `[batch, steps, units]`."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    into, over, bias_into, bias_over = (state[f"layer5.{kind}_l{layer}"] for kind in kinds)
    units, seen = steps.new_zeros(len(steps), over.shape[1]), []
    for step in steps.unbind(1):
        reset, update, new = F.linear(step, into, bias_into).chunk(3, 1)
        reset_before, update_before, before = F.linear(units, over, bias_over).chunk(3, 1)
        update = torch.sigmoid(update + update_before)
        new = torch.tanh(new + torch.sigmoid(reset + reset_before) * before)
        units = (1 - update) * new + update * units
        seen.append(units)
    return torch.stack(seen, 1)


def by_definition(state: State, x: Tensor) -> Tensor:
    """Logits of levels `[batch, frames, bands]`, by the layers of the paper."""
    x = norm(state, "spec_bn", x.transpose(1, 2)[:, None])
    for layer, pool in (("layer1", 2), ("layer2", 3), ("layer3", 4), ("layer4", 4)):
        x = F.max_pool2d(F.relu(convolved(state, f"{layer}.conv", f"{layer}.bn", x)), pool)
    assert x.shape[2] == 1
    steps = x[:, :, 0].transpose(1, 2)
    for layer in range(2):
        steps = last_state(state, steps, layer)
    return F.linear(steps[:, -1], state["dense.weight"], state["dense.bias"])


def test_parameters_and_entries_are_those_of_the_paper(network):
    assert sum(parameter.numel() for parameter in network.parameters()) == 394_100
    assert len(published_layout(network)) == 45


def test_every_layer_has_the_shape_of_the_paper(network):
    with torch.no_grad():
        cells = network.run_layers(spectrogram(network.window, 96, batch=1), network.layer_names)
    assert [tuple(one.shape[1:]) for one in cells.values()] == [*CELLS, (32, 1)]


@pytest.mark.parametrize(("frames", "bands"), [(96, 96), (300, 128), (1813, 96), (2500, 96)])
def test_logits_equal_the_definition_whatever_the_length(network, frames, bands):
    x = spectrogram(frames, bands)
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_definition(network.state_dict(), x), atol=1e-4, rtol=0)


def test_published_layouts_load_strictly(network, tmp_path):
    for found in loaded_from_published(network, tmp_path):
        assert same_weights(network, found.network)
        assert found.frontend.description == build("mel_db").description


def test_other_widths_follow_from_the_tensors(tmp_path):
    small = CRNN(n_classes=3, channels=[2, 3, 4, 5], units=6)
    assert all(same_weights(small, found.network) for found in loaded_from_published(small, tmp_path))
    with pytest.raises(ValueError, match=r"channels=\[2, 3\]: expected 4 numbers"):
        CRNN(channels=[2, 3])
