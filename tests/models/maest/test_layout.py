"""Shapes, names and initial values of the weights against the published ones."""

from __future__ import annotations

import math

import pytest
import torch

from models.maest import MAEST
from tests.models.maest.shapes import build, tokens_seen

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
