"""Musicnn against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.frontends import build
from models.musicnn import Musicnn, Timbral
from tests.models.taggers import (
    State,
    loaded_from_published,
    norm,
    published_layout,
    same_weights,
    spectrogram,
    two_dense,
    with_statistics,
)


@pytest.fixture(scope="module")
def network() -> Musicnn:
    torch.manual_seed(0)
    return with_statistics(Musicnn())


def line(state: State, name: str, x: Tensor) -> Tensor:
    """Convolution along time, batch norm, ReLU."""
    weight = state[f"{name}.conv.weight"]
    return F.relu(
        norm(state, f"{name}.bn", F.conv1d(x, weight, state[f"{name}.conv.bias"], padding=weight.shape[2] // 2))
    )


def by_definition(state: State, x: Tensor) -> Tensor:
    """Logits of levels `[batch, frames, bands]`, by the layers of the paper."""
    x = norm(state, "spec_bn", x.transpose(1, 2)[:, None])
    filters = []
    for number, shape in enumerate([(67, 7), (38, 7), 129, 65, 33]):
        name = f"layers.{number}"
        weight, bias = state[f"{name}.conv.weight"], state[f"{name}.conv.bias"]
        if number < 2:
            assert weight.shape == (204, 1, *shape)
            cells = F.relu(norm(state, f"{name}.bn", F.conv2d(x, weight, bias, padding=(0, 3))))
            filters.append(cells.max(2).values)
        else:
            assert weight.shape == (51, 1, shape)
            filters.append(line(state, name, x.mean(2)))
    front = torch.cat(filters, 1)
    first = line(state, "layer1", front)
    second = line(state, "layer2", first) + first
    third = line(state, "layer3", second) + second
    everything = torch.cat([front, first, second, third], 1)
    return two_dense(state, torch.cat([everything.max(2).values, everything.mean(2)], 1))


@pytest.mark.parametrize(
    ("widths", "parameters"), [({}, 784_300), ({"middle": 512, "hidden": 500}, 7_972_000)], ids=["mtt", "msd"]
)
def test_parameters_and_entries_are_those_of_the_paper(widths, parameters):
    network = Musicnn(**widths)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(published_layout(network)) == 72


def test_every_layer_has_the_shape_of_the_paper(network):
    with torch.no_grad():
        cells = network.run_layers(spectrogram(network.window, 96, batch=1), network.layer_names)
    shapes = {name: tuple(one.shape[1:]) for name, one in cells.items()}
    middle = dict.fromkeys(("layer1", "layer2", "layer3"), (64, 188))
    assert shapes == {"front": (561, 188), **middle, "penultimate": (200, 1)}


@pytest.mark.parametrize(("frames", "bands"), [(1, 96), (188, 96), (188, 128), (700, 96)])
def test_logits_equal_the_definition_whatever_the_length(network, frames, bands):
    x = spectrogram(frames, bands)
    expected = by_definition(network.state_dict(), x)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(network.prepared()(x), expected, atol=1e-4, rtol=0)


def test_layers_are_embeddings_and_no_more_is_computed_than_is_asked_for(network):
    x = spectrogram(188, 96)
    with torch.no_grad():
        logits, tokens = network.forward_and_embed(x, ["front", "penultimate"])
        assert torch.equal(logits, network.dense2(tokens["penultimate"][:, 0]))
        network.layer2.register_forward_pre_hook(lambda *_: pytest.fail("a later layer was computed"))
        assert torch.equal(network.embed(x, ["front"])["front"], tokens["front"])
    network.layer2._forward_pre_hooks.clear()
    assert {name: tuple(one.shape) for name, one in tokens.items()} == {
        "front": (2, 1, 561),
        "penultimate": (2, 1, 200),
    }


@pytest.mark.parametrize(
    "widths", [{}, {"middle": 512, "hidden": 500}, {"n_classes": 3, "timbral": 2, "temporal": 4}], ids=str
)
def test_published_layouts_load_strictly(widths, tmp_path):
    network = Musicnn(**widths)
    for found in loaded_from_published(network, tmp_path):
        assert same_weights(network, found.network)
        assert found.frontend.description == build("mel_db").description


def test_gradients_in_training_are_those_of_the_convolution():
    torch.manual_seed(0)
    layer = Timbral(5, 38).double()
    x = torch.randn(2, 1, 96, 20, dtype=torch.float64, requires_grad=True)
    wanted = (x, *layer.parameters())
    ours = torch.autograd.grad(layer(x).square().sum(), wanted)
    plainly = torch.relu(layer.bn(layer.conv(x))).amax(2)
    for one, other in zip(ours, torch.autograd.grad(plainly.square().sum(), wanted), strict=True):
        torch.testing.assert_close(one, other)
