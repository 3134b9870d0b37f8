"""The self-attention network against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.self_attention import SelfAttentionCNN
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

# Channels, bands and frames of a window, layer by layer.
CELLS = [
    (128, 64, 469), (128, 32, 235), (256, 16, 118), (256, 8, 118), (256, 4, 118), (256, 2, 118), (256, 1, 118),
]  # fmt: skip
NARROW = {"channels": [4, 4, 6, 6, 6, 6, 8], "n_classes": 5}


@pytest.fixture(scope="module")
def network() -> SelfAttentionCNN:
    torch.manual_seed(0)
    return with_statistics(SelfAttentionCNN())


def narrow(**arguments: int) -> SelfAttentionCNN:
    torch.manual_seed(0)
    return with_statistics(SelfAttentionCNN(**{**NARROW, **arguments}))


def by_definition(state: State, x: Tensor, heads: int = 8) -> Tensor:
    """Logits of levels `[batch, frames, bands]`, by the layers of the papers."""

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def added(name: str, x: Tensor, before: Tensor) -> Tensor:
        x = linear(f"{name}.dense", x) + before
        deviation = (x.var(-1, unbiased=False, keepdim=True) + 1e-12).sqrt()
        normed = (x - x.mean(-1, keepdim=True)) / deviation
        return normed * state[f"{name}.LayerNorm.weight"] + state[f"{name}.LayerNorm.bias"]

    x = norm(state, "spec_bn", x.transpose(1, 2)[:, None])
    for number in range(1, 8):
        layer, stride = f"layer{number}", 2 if number <= 3 else (2, 1)
        inner = F.relu(convolved(state, f"{layer}.conv_1", f"{layer}.bn_1", x, stride=stride))
        shortcut = convolved(state, f"{layer}.conv_3", f"{layer}.bn_3", x, stride=stride)
        x = F.relu(convolved(state, f"{layer}.conv_2", f"{layer}.bn_2", inner) + shortcut)
    tokens = x.squeeze(2).transpose(1, 2)
    first = torch.tensor(np.random.RandomState(0).rand(1, tokens.shape[2]), dtype=torch.float32)
    tokens = torch.cat([first.repeat(len(tokens), 1, 1), tokens], 1)
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        attention = f"{layer}.attention"
        query, key, value = (
            linear(f"{attention}.self.{part}", tokens).unflatten(2, (heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        weights = (query @ key.transpose(2, 3) / query.shape[3] ** 0.5).softmax(-1)
        tokens = added(f"{attention}.output", (weights @ value).transpose(1, 2).flatten(2), tokens)
        tokens = added(f"{layer}.output", F.gelu(linear(f"{layer}.intermediate.dense", tokens)), tokens)
    return linear("dense", torch.tanh(linear("pooler.dense", tokens[:, 0])))


def test_parameters_and_entries_are_those_of_the_paper(network):
    assert sum(parameter.numel() for parameter in network.parameters()) == 10_521_652
    assert len(published_layout(network)) == 190


def test_every_layer_has_the_shape_of_the_paper(network):
    with torch.no_grad():
        cells = network.run_layers(spectrogram(938, 128, batch=1), network.layer_names)
    assert [tuple(cells[f"layer{number}"].shape[1:]) for number in range(1, 8)] == CELLS
    assert cells["encoder"].shape == (1, 256, 119)


@pytest.mark.parametrize("frames", [2, 300, 1100])
def test_logits_equal_the_definition_whatever_the_length(network, frames):
    x = spectrogram(frames, 128)
    with torch.no_grad():
        logits = network(x)
        torch.testing.assert_close(logits, by_definition(network.state_dict(), x), rtol=0, atol=1e-4)
    assert logits.std() > 0.05


def test_any_number_of_windows_goes_together():
    network, x = narrow(), spectrogram(20, 128, batch=70)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[65:], network(x[65:]), rtol=0, atol=1e-5)


def test_making_a_network_leaves_the_generators_alone():
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    network = narrow()
    assert np.random.rand() == expected  # noqa: NPY002
    assert network.encoder.whole.flatten().tolist() == pytest.approx(np.random.RandomState(0).rand(8))
    assert not any("whole" in key for key in network.state_dict())
    assert network.to("meta").encoder.whole.device.type == "meta"


def test_frames_have_no_order_for_the_transformer():
    network = narrow()
    cells = torch.randn(1, 8, 1, 10, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        moved = network.encoder(cells.flip(3))
        torch.testing.assert_close(network.encoder(cells)[..., 0], moved[..., 0], rtol=0, atol=1e-5)


def test_dropout_is_for_training_alone():
    network, x = narrow(), spectrogram(50, 128)
    with torch.no_grad():
        assert torch.equal(network(x), network(x))
        network.encoder.train()
        assert not torch.equal(network(x), network(x))


def test_embeddings_are_means_over_tokens_and_the_pooled_token():
    network, x = narrow(), spectrogram(50, 128)
    with torch.no_grad():
        logits, tokens = network.forward_and_embed(x, ["layer7", "encoder", "penultimate"])
        assert torch.equal(network.dense(tokens["penultimate"][:, 0]), logits)
    assert {tuple(one.shape) for one in tokens.values()} == {(2, 1, 8)}
    assert network.default_layer == "penultimate"


def test_published_layouts_load_strictly(tmp_path):
    for found in loaded_from_published(narrow(), tmp_path):
        assert same_weights(narrow(), found.network)
        assert found.frontend.item_shape == (128,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"channels": [8] * 6}, "expected 7 numbers"), ({"heads": 3}, "a divisor of the last of channels, 8")],
)
def test_other_layers_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        SelfAttentionCNN(**{**NARROW, **arguments})
