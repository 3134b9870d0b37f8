"""The network against its published layout, its token counts, its own blocks and independent implementations."""

from __future__ import annotations

import math

import pytest
import torch

from models.maest import MAEST
from tests.models.maest.shapes import build
from tests.peers import peer

SMALL = {"n_classes": 7, "n_frames": 125, "dim": 48, "depth": 3, "heads": 3}


@pytest.fixture
def network() -> MAEST:
    torch.manual_seed(0)
    return randomise(MAEST(**SMALL)).eval()


def randomise(network: torch.nn.Module) -> torch.nn.Module:
    """Moves every parameter away from its initial value, so that none can be mixed up with another."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network


def tokens_seen(network: MAEST, x: torch.Tensor) -> int:
    """Length of the sequence that enters the first block."""
    seen = []
    handle = network.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    with torch.no_grad():
        network(x)
    handle.remove()
    return seen[0]


PUBLISHED = [
    ("maest_5s", 31, 85_903_904, 85_596_304),
    ("maest_10s", 62, 85_927_712, 85_620_112),
    ("maest_20s", 125, 85_976_096, 85_668_496),
    ("maest_30s", 187, 86_023_712, 85_716_112),
    ("maest_30s_519l", 187, 86_206_734, 85_807_623),
    ("passt_s", 99, 86_153_758, None),
    ("passt_l", 99, 50_714_398, None),
]


def published_shapes(n_classes: int, positions: int, rows: int, depth: int) -> dict[str, tuple[int, ...]]:
    """The key table of the published files."""
    block = {
        "norm1.weight": (768,), "norm1.bias": (768,),
        "attn.qkv.weight": (2304, 768), "attn.qkv.bias": (2304,),
        "attn.proj.weight": (768, 768), "attn.proj.bias": (768,),
        "norm2.weight": (768,), "norm2.bias": (768,),
        "mlp.fc1.weight": (3072, 768), "mlp.fc1.bias": (3072,),
        "mlp.fc2.weight": (768, 3072), "mlp.fc2.bias": (768,),
    }  # fmt: skip
    return {
        "cls_token": (1, 1, 768),
        "dist_token": (1, 1, 768),
        "new_pos_embed": (1, 2, 768),
        "freq_new_pos_embed": (1, 768, rows, 1),
        "time_new_pos_embed": (1, 768, 1, positions),
        "patch_embed.proj.weight": (768, 1, 16, 16),
        "patch_embed.proj.bias": (768,),
        **{f"blocks.{index}.{key}": shape for index in range(depth) for key, shape in block.items()},
        "norm.weight": (768,),
        "norm.bias": (768,),
        "head.0.weight": (768,),
        "head.0.bias": (768,),
        "head.1.weight": (n_classes, 768),
        "head.1.bias": (n_classes,),
        "head_dist.weight": (n_classes, 768),
        "head_dist.bias": (n_classes,),
    }


@pytest.mark.parametrize(("name", "positions", "parameters", "without_second_head"), PUBLISHED)
def test_published_layout(name, positions, parameters, without_second_head):
    with torch.device("meta"):
        network = build(name, time_positions=positions)
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    assert shapes == published_shapes(network.n_classes, positions, network.grid[0], network.depth)
    assert sum(map(math.prod, shapes.values())) == parameters
    if without_second_head:
        assert (
            parameters - sum(map(math.prod, (shapes["head_dist.weight"], shapes["head_dist.bias"])))
            == without_second_head
        )


@pytest.mark.parametrize(
    ("name", "positions", "tokens"),
    [("maest_5s", 30, 272), ("maest_10s", 61, 551), ("maest_20s", 124, 1118), ("maest_30s", 186, 1676)],
)
def test_our_own_networks_have_one_position_for_every_patch(name, positions, tokens):
    network = build(name, dim=16, heads=2, depth=1)
    assert network.grid == (9, positions)
    assert network.time_new_pos_embed.shape[3] == positions
    assert network.count_tokens() == tokens == tokens_seen(network.eval(), torch.zeros(1, network.n_frames, 96))


@pytest.mark.parametrize(
    ("name", "settings", "training", "evaluation"),
    [
        ("maest_5s", {"s_patchout_t": 15, "s_patchout_f": 3}, 92, 272),
        ("maest_10s", {"s_patchout_t": 30}, 281, 551),
        ("maest_10s", {"s_patchout_t": 30, "s_patchout_f": 3}, 188, 551),
        ("maest_20s", {"s_patchout_t": 60}, 578, 1118),
        ("maest_20s", {"s_patchout_t": 60, "s_patchout_f": 3}, 386, 1118),
        ("maest_30s", {"s_patchout_t": 90}, 866, 1676),
        ("maest_30s", {"s_patchout_t": 90, "s_patchout_f": 3}, 578, 1676),
        ("maest_30s", {"u_patchout": 200}, 1476, 1676),
        ("maest_30s", {"s_patchout_f_indices": [0, 1]}, 1304, 1304),
        ("maest_30s", {"s_patchout_f_interleaved": 2}, 932, 932),
        ("maest_30s", {"s_patchout_t_indices": [0, 5]}, 1658, 1658),
        ("maest_30s", {"s_patchout_t_interleaved": 2}, 839, 839),
        ("maest_30s", {"s_patchout_t_interleaved": 2, "s_patchout_t_indices": [0, 2], "s_patchout_t": 40}, 461, 821),
        ("maest_30s", {"s_patchout_f_interleaved": 2, "s_patchout_f": 2, "u_patchout": 58}, 502, 932),
    ],
)  # fmt: skip
def test_token_counts_with_patchout(name, settings, training, evaluation):
    network = build(name, dim=16, heads=2, depth=1, **settings)
    x = torch.zeros(2, network.n_frames, 96)
    assert tokens_seen(network.train(), x) == network.count_tokens(training=True) == training
    assert tokens_seen(network.eval(), x) == network.count_tokens() == evaluation


def test_f08_patchout_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="leaves no time column of 30"):
        build("maest_5s", dim=16, heads=2, depth=1, s_patchout_t=30)
    network = build("maest_30s", dim=16, heads=2, depth=1, s_patchout_t=90).train()
    with pytest.raises(ValueError, match=r"leaves no time column of 61 .*s_patchout_t=90.*longer input"):
        network(torch.zeros(1, 625, 96))


def test_dropped_patches_are_never_read(network):
    masked = MAEST(**SMALL, s_patchout_t_indices=[10], s_patchout_f_indices=[8]).eval()
    masked.load_state_dict(network.state_dict())
    x = torch.randn(2, 125, 96)
    broken = x.clone()
    # The last column of patches covers the frames 100 to 115, the one before it ends at 105; rows likewise.
    broken[:, 106:] = float("nan")
    broken[:, :, 86:] = float("nan")
    with torch.no_grad():
        assert torch.equal(masked(x), masked(broken))


def test_kept_patches_keep_their_positions(network):
    """Dropping rows and columns equals a manual gather from the whole embedding."""
    settings = {"s_patchout_f_indices": [2, 3], "s_patchout_t_interleaved": 3}
    masked = MAEST(**SMALL, **settings).eval()
    masked.load_state_dict(network.state_dict())
    x = torch.randn(2, 125, 96)
    with torch.no_grad():
        whole = network._tokenise(x)
        grid = whole[:, 2:].unflatten(1, network.grid)
        expected = grid[:, [0, 1, 4, 5, 6, 7, 8]][:, :, ::3].flatten(1, 2)
        torch.testing.assert_close(masked._tokenise(x), torch.cat([whole[:, :2], expected], dim=1))


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


def test_initial_weights():
    torch.manual_seed(0)
    network = MAEST(dim=192, heads=3, depth=2, n_classes=50)
    for name in (*network.no_weight_decay(), "blocks.0.attn.qkv.weight", "head.1.weight", "head_dist.weight"):
        values = network.get_parameter(name)
        assert values.std().item() == pytest.approx(0.02, rel=0.15), name
    assert not network.blocks[0].attn.qkv.bias.any()
    assert torch.equal(network.norm.weight, torch.ones(192))
    assert (network.norm.eps, network.blocks[0].norm1.eps, network.head[0].eps) == (1e-6, 1e-6, 1e-5)
    bound = 1 / 16
    assert network.patch_embed["proj"].weight.abs().max() <= bound
    assert network.patch_embed["proj"].weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


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


@pytest.fixture(scope="module")
def twins() -> tuple[MAEST, torch.nn.Module]:
    """Our network and the one of `maest-infer` with equal random weights, at full width and reduced depth."""
    torch.manual_seed(0)
    ours = randomise(MAEST(n_frames=625, time_positions=62, depth=3)).eval()
    theirs = (
        peer("maest_infer.model")
        .MAEST(img_size=(96, 625), stride=(10, 10), distilled=True, num_classes=400, depth=3)
        .eval()
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


@pytest.mark.parametrize("frames", [626, 400, 16])
def test_equal_to_maest_infer(twins, frames):
    ours, theirs = twins
    x = torch.randn(2, frames, 96)
    image = x.transpose(1, 2)[:, None]
    with torch.inference_mode():
        made, tokens = ours.forward_and_embed(x, ours.layer_names)
        logits, features = theirs(image.clone(), melspectrogram_input=True)
        torch.testing.assert_close(made, logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours(x), logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours.features(x), features, rtol=0, atol=1e-4)
        for block, layer in enumerate(ours.layer_names):
            _, expected = theirs(image.clone(), transformer_block=block, melspectrogram_input=True)
            torch.testing.assert_close(tokens[layer].flatten(1), expected, rtol=0, atol=1e-4)


def test_equal_to_maest_infer_at_full_depth():
    torch.manual_seed(0)
    ours = randomise(build("maest_10s", time_positions=62)).eval()
    theirs = (
        peer("maest_infer.model").MAEST(img_size=(96, 625), stride=(10, 10), distilled=True, num_classes=400).eval()
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(1, 625, 96)
    with torch.inference_mode():
        made, tokens = ours.forward_and_embed(x, [ours.default_layer])
        logits, features = theirs(x.transpose(1, 2)[:, None].clone(), melspectrogram_input=True)
        _, block_7 = theirs(x.transpose(1, 2)[:, None].clone(), transformer_block=6, melspectrogram_input=True)
        torch.testing.assert_close(ours.features(x), features, rtol=0, atol=1e-4)
    torch.testing.assert_close(made, logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(tokens[ours.default_layer].flatten(1), block_7, rtol=0, atol=1e-4)


def test_equal_to_hear21passt():
    torch.manual_seed(0)
    ours = randomise(build("passt_s", depth=3)).eval()
    theirs = (
        peer("hear21passt.models.passt")
        .PaSST(img_size=(128, 998), stride=(10, 10), distilled=True, num_classes=527, depth=3)
        .eval()
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    blocks: dict[int, torch.Tensor] = {}
    for index, block in enumerate(theirs.blocks):
        block.register_forward_hook(lambda _, inputs, output, index=index: blocks.__setitem__(index, output))
    x = torch.randn(1, 998, 128)
    with torch.inference_mode():
        made, tokens = ours.forward_and_embed(x, ours.layer_names)
        logits, features = theirs(x.transpose(1, 2)[:, None].clone())
        torch.testing.assert_close(made, logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours.features(x), features, rtol=0, atol=1e-4)
        for index, block in blocks.items():
            expected = torch.stack([block[:, 0], block[:, 1], block[:, 2:].mean(dim=1)], dim=1)
            torch.testing.assert_close(tokens[ours.layer_names[index]], expected, rtol=0, atol=1e-4)


def test_layers_name_every_parameter_once_from_input_to_heads():
    network = MAEST(dim=16, depth=3, heads=2, n_frames=64, n_classes=5)
    layers = network.parameter_layers()
    assert sorted(name for layer in layers for name in layer) == sorted(dict(network.named_parameters()))
    assert len(layers) == 5
    assert set(network.no_weight_decay()) < set(layers[0])
    assert {name.split(".")[0] for name in layers[0]} >= {"patch_embed", "cls_token"}
    assert all(name.startswith("blocks.1.") for name in layers[2])
    assert "norm.weight" in layers[3]
    assert {name.split(".")[0] for name in layers[4]} == {"head", "head_dist"}


@pytest.mark.parametrize("training", [True, False])
def test_masked_tokens_are_those_of_the_patches_that_are_kept(training):
    network = MAEST(**SMALL, s_patchout_f=2, u_patchout=30).train(training)
    layer, lengths = network.layer_names[-1], []
    network.blocks[0].register_forward_hook(lambda _, inputs, output: lengths.append(output.shape[1]))
    x = torch.randn(3, 125, 96)
    tokens = network.embed_masked(x, [layer], 0.9, torch.Generator().manual_seed(0))[layer]
    rows, columns = 9, 11
    assert lengths == [round(rows * columns * 0.1) + 2]
    kept = network.patchout.sample_each(rows, columns, 3, 0.9, torch.Generator().manual_seed(0))
    for number in range(3):
        alone = network._run(x[number : number + 1], [2], 3, kept._replace(tokens=kept.tokens[number]))[1][layer]
        torch.testing.assert_close(tokens[number], alone[0])


def test_nothing_masked_is_the_whole():
    network, x = MAEST(**SMALL).eval(), torch.randn(2, 125, 96)
    layer = network.layer_names[0]
    whole, masked = network.embed(x, [layer])[layer], network.embed_masked(x, [layer], 0.0)[layer]
    torch.testing.assert_close(masked, whole)
