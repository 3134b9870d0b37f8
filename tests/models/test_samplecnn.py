"""SampleCNN and its residual variant against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.samplecnn import SampleCNN, SampleCNNSE
from tests.models.taggers import State, loaded_from_published, norm, same_weights, two_dense, with_statistics

CELLS = [19_683, 6561, 2187, 729, 243, 81, 27, 9, 3, 1, 1]
CHANNELS = [128, 128, 128, 256, 256, 256, 256, 256, 256, 512, 512]
NARROW = [4, 4, 4, 6, 6, 6, 6, 6, 6, 8, 8]
COUNTS = {SampleCNN: (1_869_874, 79), SampleCNNSE: (6_951_858, 228)}


@pytest.fixture(params=[SampleCNN, SampleCNNSE])
def kind(request) -> type:
    return request.param


@pytest.fixture
def network(kind) -> SampleCNN | SampleCNNSE:
    torch.manual_seed(0)
    return with_statistics(kind())


def audio(samples: int = 59_049, batch: int = 2) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(1))


def by_definition(state: State, x: Tensor) -> Tensor:
    """Logits of windows `[batch, 59049]` by the layers of the papers, one after the other."""

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def conv(x: Tensor, layer: str, number: str = "", stride: int = 1) -> Tensor:
        weight, bias = (state[f"{layer}.conv{number}.{part}"] for part in ("weight", "bias"))
        return norm(state, f"{layer}.bn{number}", F.conv1d(x, weight, bias, stride, padding=weight.shape[2] // 2))

    def residual(x: Tensor, layer: str, stride: int) -> Tensor:
        shortcut = conv(x, layer, "_3", stride) if f"{layer}.conv_3.weight" in state else x
        update = conv(F.relu(conv(x, layer, "_1", stride)), layer, "_2")
        weights = torch.sigmoid(linear(F.relu(linear(update.mean(-1), f"{layer}.dense1")), f"{layer}.dense2"))
        return shortcut + update * weights[..., None]

    x, plain = x[:, None], "layer1.conv.weight" in state
    for number in range(1, 12):
        layer, stride = f"layer{number}", 3 if number == 1 else 1
        x = F.relu(conv(x, layer, stride=stride) if plain else residual(x, layer, stride))
        x = F.max_pool1d(x, 3) if 2 <= number <= 10 else x
    x = x.squeeze(2)
    return linear(x, "dense") if plain else two_dense(state, x)


def test_parameters_and_entries_are_those_of_the_paper(network):
    parameters, entries = COUNTS[type(network)]
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(network.state_dict()) == entries


def test_every_layer_has_the_shape_of_the_paper(network):
    with torch.no_grad():
        cells = network.run_layers(audio(batch=1), network.layer_names)
    layers = [tuple(cells[f"layer{number}"].shape[1:]) for number in range(1, 12)]
    assert layers == list(zip(CHANNELS, CELLS, strict=True))


def test_logits_equal_the_definition(network):
    with torch.no_grad():
        logits = network(audio())
        torch.testing.assert_close(logits, by_definition(network.state_dict(), audio()), rtol=0, atol=1e-4)
    assert logits.std() > 0.1


def test_of_longer_input_the_mean_cell_is_classified_and_shorter_input_is_refused(kind):
    network = with_statistics(kind(channels=NARROW))
    with torch.no_grad():
        cells = network.run_layers(audio(3 * 59_049), ["layer11"])["layer11"]
        assert cells.shape[2] == 3
        last = cells.mean(2, keepdim=True)
        expected = network.classify(network.penultimate(last) if kind is SampleCNNSE else last)
        assert torch.equal(network(audio(3 * 59_049)), expected)
        assert network(audio(80_000)).shape == (2, 50)
    with pytest.raises(ValueError, match=r"got shape \[2, 59048\].*at least 59049"):
        network(audio(59_048))


def test_embeddings_are_means_over_cells(network):
    with torch.no_grad():
        tokens = network.embed(audio(), ["layer3", network.default_layer])
    assert {name: tuple(one.shape) for name, one in tokens.items()} == {
        "layer3": (2, 1, 128),
        network.default_layer: (2, 1, 512),
    }
    assert (tokens[network.default_layer] >= 0).all()


def test_layers_are_trained_as_they_are_evaluated(kind):
    """Pooling before ReLU has the gradient of ReLU before pooling."""
    torch.manual_seed(0)
    network = with_statistics(kind(channels=NARROW, dropout=0.0))
    network(audio()).square().sum().backward()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = next(iter(state))
    leaf = state[first].requires_grad_()
    by_definition(state, audio()).square().sum().backward()
    torch.testing.assert_close(network.get_parameter(first).grad, leaf.grad, rtol=1e-3, atol=1e-4)


def test_published_layouts_load_strictly(kind, tmp_path):
    network = with_statistics(kind(channels=NARROW, n_classes=9))
    for found in loaded_from_published(network, tmp_path):
        assert same_weights(network, found.network)
        assert found.frontend.name == "waveform"


def test_the_last_batch_of_an_epoch_may_hold_one_window(kind):
    network = kind(channels=NARROW).train()
    network(audio(batch=1)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_encoder_of_clmr_is_one_of_its_forms():
    network = SampleCNN(padding=0, last_kernel=3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_394_162
    assert network.window_samples == 59_049
    with torch.no_grad():
        assert network.run_layers(audio(batch=1), ["layer11"])["layer11"].shape == (1, 512, 1)


@pytest.mark.parametrize("strides", [[3, 3, 3, 3, 3, 3, 5, 2, 2], [3, 3, 3, 2, 2, 4, 4, 2, 2]])
def test_strides_of_other_rates_leave_one_cell_of_their_window(strides):
    network = SampleCNN(channels=NARROW, strides=strides).eval()
    assert network.window_samples == network.min_frames == 3 * torch.tensor(strides).prod()
    with torch.no_grad():
        assert network.run_layers(audio(network.window), ["layer11"])["layer11"].shape == (2, 8, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"channels": [4] * 10}, "expected 11 numbers"),
        ({"strides": [3] * 8}, "expected 9 numbers"),
        ({"strides": [2, 2, 2, 2, 2, 2, 2, 2, 5]}, "larger ones come first"),
        ({"last_kernel": 2}, "odd number"),
    ],
)
def test_other_layers_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        SampleCNN(**arguments)
