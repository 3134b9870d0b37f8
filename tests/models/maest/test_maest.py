"""The network against its own blocks: embeddings, heads, gradients, what it refuses."""

from __future__ import annotations

import pytest
import torch

from models.maest import MAEST
from tests.models.maest.shapes import SMALL


@pytest.mark.parametrize("index", range(3))
def test_f01_embeddings_equal_hooks_on_the_blocks(network, index):
    x = torch.randn(2, 120, 96)
    seen, layer = [], network.layer_names[index]
    network.blocks[index].register_forward_hook(lambda _, inputs, output: seen.append(output))
    with torch.no_grad():
        logits, tokens = network.forward_and_embed(x, [layer])
        alone = network.embed(x, [layer])
        expected_logits = network(x)
    block = seen[0]
    expected = torch.stack([block[:, 0], block[:, 1], block[:, 2:].mean(dim=1)], dim=1)
    assert torch.equal(tokens[layer], expected)
    assert torch.equal(alone[layer], expected)
    assert network.embedding_shape(layer, (96,)) == tuple(expected.shape[1:])
    torch.testing.assert_close(logits, expected_logits, rtol=0, atol=1e-6)


def test_f02_logits_and_embeddings_come_from_one_pass(network):
    ran = []
    for index, block in enumerate(network.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    x = torch.randn(2, 64, 96)
    with torch.no_grad():
        logits, tokens = network.forward_and_embed(x, ["block_00", "block_01"])
        assert ran == [0, 1, 2]
        torch.testing.assert_close(logits, network(x), rtol=0, atol=1e-6)
    assert list(tokens) == ["block_00", "block_01"]
    assert not torch.equal(tokens["block_00"], tokens["block_01"])


def test_embedding_stops_after_the_last_block_asked_for(network):
    ran = []
    for index, block in enumerate(network.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    assert set(network.embed(torch.randn(1, 64, 96), ["block_01", "block_00"])) == {"block_00", "block_01"}
    assert ran == [0, 1]


@pytest.mark.parametrize("layer", ["block_-1", "block_03", "block_12", "7", "norm"])
def test_layers_that_do_not_exist_are_refused(network, layer):
    with pytest.raises(ValueError, match=rf"{layer}'\]: this network has block_00 to block_02"):
        network.embed(torch.randn(1, 64, 96), ["block_00", layer])


def test_embedding_nothing_is_refused(network):
    with pytest.raises(ValueError, match="name at least one"):
        network.embed(torch.randn(1, 64, 96), [])


def test_separated_heads_read_one_token_each(network):
    separated = MAEST(**SMALL, distilled_type="separated").eval()
    separated.load_state_dict(network.state_dict())
    x = torch.randn(2, 125, 96)
    with torch.no_grad():
        first, second = separated(x).values()
        assert list(separated(x)) == ["cls", "dist"]
        pair = separated.norm(separated.blocks[2](separated.blocks[1](separated.blocks[0](separated._tokenise(x)))))
        torch.testing.assert_close(first, separated.head(pair[:, 0]))
        torch.testing.assert_close(second, separated.head_dist(pair[:, 1]))
        assert torch.equal(separated.forward_and_embed(x, ["block_00"])[0]["dist"], second)


def test_evaluation_uses_the_first_positions_and_training_all(network):
    x = torch.randn(1, 64, 96)
    with torch.no_grad():
        assert torch.equal(network(x), network(x))
        network.train()
        torch.manual_seed(0)
        assert len({round(float(network(x).sum()), 5) for _ in range(40)}) == network.grid[1] - 5 + 1


@pytest.mark.parametrize("training", [False, True])
def test_input_and_weights_are_left_alone(network, training):
    network.train(training)
    x = torch.randn(2, 100, 96)
    before, state = x.clone(), {key: value.clone() for key, value in network.state_dict().items()}
    with torch.inference_mode():
        network.forward_and_embed(x, ["block_00", "block_02"])
    network(x)
    assert torch.equal(x, before)
    assert x.shape == (2, 100, 96)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_gradients_are_those_of_the_plain_definition(network):
    """The last block's shortcut and the fused path change no gradient."""
    x = torch.randn(2, 125, 96)
    network.train()
    network(x).square().sum().backward()
    shortcut = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert set(dict(network.named_parameters())) - set(shortcut) == {"head_dist.weight", "head_dist.bias"}
    network.zero_grad()
    network.forward_and_embed(x, network.layer_names)[0].square().sum().backward()
    for name, gradient in shortcut.items():
        torch.testing.assert_close(gradient, network.get_parameter(name).grad, rtol=1e-4, atol=1e-5)


def test_half_precision_features_are_accepted(network):
    x = torch.randn(1, 64, 96).half()
    assert network(x).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(network(x).float(), network(x.float()).float())


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(125, 96),
        torch.zeros(1, 3, 125, 96),
        torch.zeros(1, 125, 128),
        torch.zeros(1, 15, 96),
        torch.zeros(1, 126 + 10, 96),
        torch.zeros(0, 125, 96),
        torch.zeros(1, 125, 96).numpy(),
    ],
    ids=["2-d", "channels", "bands", "short", "long", "empty", "numpy"],
)
def test_other_shapes_are_refused(network, x):
    with pytest.raises(ValueError, match=r"got .*expected a tensor \[B, T, 96\], 16 <= T <= 125"):
        network(x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distilled_type": "both"}, "distilled_type='both': expected one of mean, separated"),
        ({"heads": 5}, "dim=48 is not divisible by heads=5"),
        ({"n_frames": 15}, "n_frames=15: expected at least 16"),
        ({"dropout": 1.0}, "dropout=1.0: expected a rate"),
        ({"depth": 0}, "depth=0: expected at least 1"),
        ({"time_positions": 0}, "time_positions=0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MAEST(**{**SMALL, **settings})


def test_dropout_and_stochastic_depth_act_in_training_only():
    torch.manual_seed(0)
    network = MAEST(**{**SMALL, "n_frames": 125}, dropout=0.3, attention_dropout=0.2, stochastic_depth=0.4)
    assert [block.drop_path.rate for block in network.blocks] == pytest.approx([0.0, 0.2, 0.4])
    x = torch.randn(1, 125, 96)
    assert not torch.equal(network(x), network(x))
    network.eval()
    plain = MAEST(**SMALL).eval()
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(x), plain(x))
