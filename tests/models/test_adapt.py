"""Weights of other networks arrive as stated, and nothing else passes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.adapt import adapt
from models.errors import CheckpointError
from models.maest import MAEST

SHAPE = {"dim": 32, "depth": 2, "heads": 2}
HEADS = ["head.1.weight", "head.1.bias", "head_dist.weight", "head_dist.bias"]
HEAD_NORM = ["head.0.weight", "head.0.bias"]


@pytest.fixture
def network() -> MAEST:
    torch.manual_seed(0)
    return MAEST(n_classes=7, n_frames=312, **SHAPE)


def passt() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return MAEST(n_classes=527, n_bands=128, n_frames=998, **SHAPE).state_dict()


def deit(distilled: bool = True) -> dict[str, torch.Tensor]:
    """A dictionary in the layout of timm's deit_base_patch16_384, at the width of the small network."""
    torch.manual_seed(2)
    state = MAEST(n_classes=7, n_frames=312, **SHAPE).state_dict()
    for key in [key for key in state if key.startswith("head") or key.endswith("pos_embed")]:
        del state[key]
    state["patch_embed.proj.weight"] = torch.randn(32, 3, 16, 16)
    state["pos_embed"] = torch.randn(1, 578 if distilled else 577, 32)
    state["head.weight"], state["head.bias"] = torch.randn(1000, 32), torch.randn(1000)
    if distilled:
        state["head_dist.weight"], state["head_dist.bias"] = torch.randn(1000, 32), torch.randn(1000)
    else:
        del state["dist_token"]
    return state


def test_from_passt(network):
    source = passt()
    state, report = adapt(source, network.state_dict(), "passt")
    assert sorted(report.adapted) == ["freq_new_pos_embed", "time_new_pos_embed"]
    assert report.reinitialised == HEADS
    assert report.ignored == HEADS
    assert sorted([*report.loaded, *report.adapted, *report.reinitialised]) == sorted(network.state_dict())
    assert torch.equal(state["head.0.weight"], source["head.0.weight"])
    assert torch.equal(state["head.1.weight"], network.state_dict()["head.1.weight"])
    for key, size in (("freq_new_pos_embed", (9, 1)), ("time_new_pos_embed", (1, 30))):
        expected = F.interpolate(source[key], size=size, mode="bicubic", align_corners=False)
        torch.testing.assert_close(state[key], expected)
    network.load_state_dict(state)
    assert "stretched from [1, 32, 12, 1] to [1, 32, 9, 1]" in str(report)


def test_from_deit(network):
    source = deit()
    state, report = adapt(source, network.state_dict(), "deit")
    grid = source["pos_embed"][0, 2:].reshape(24, 24, 32).permute(2, 0, 1)[None]
    grid = F.interpolate(grid, size=(9, 30), mode="bicubic", align_corners=False)
    torch.testing.assert_close(state["new_pos_embed"], source["pos_embed"][:, :2])
    torch.testing.assert_close(state["freq_new_pos_embed"], grid.mean(dim=3, keepdim=True))
    torch.testing.assert_close(state["time_new_pos_embed"], grid.mean(dim=2, keepdim=True))
    torch.testing.assert_close(state["patch_embed.proj.weight"][:, 0], source["patch_embed.proj.weight"].sum(dim=1))
    assert report.reinitialised == [*HEAD_NORM, *HEADS]
    assert sorted(report.ignored) == ["head.bias", "head.weight", "head_dist.bias", "head_dist.weight"]
    network.load_state_dict(state)


def test_from_a_deit_that_is_not_distilled(network):
    with pytest.raises(
        CheckpointError, match=r"pos_embed \[1, 577, 32\] .*not those of a distilled DeiT.*use the distilled"
    ):
        adapt(deit(distilled=False), network.state_dict(), "deit")


def test_from_the_published_layout_with_one_position_more_and_front_end_buffers(network):
    source = MAEST(n_classes=7, n_frames=312, time_positions=31, **SHAPE).state_dict()
    source["melspectrogram.spec.window"] = torch.ones(512)
    _, report = adapt(source, network.state_dict(), "maest")
    assert list(report.adapted) == ["time_new_pos_embed"]
    assert report.ignored == ["melspectrogram.spec.window"]
    assert report.reinitialised == []


def test_another_length_is_stretched_or_cropped(network):
    source = MAEST(n_classes=7, n_frames=1875, time_positions=187, **SHAPE).state_dict()
    stretched, _ = adapt(source, network.state_dict(), "maest")
    cropped, report = adapt(source, network.state_dict(), "maest", positions="crop")
    assert torch.equal(cropped["time_new_pos_embed"], source["time_new_pos_embed"][..., :30])
    assert not torch.equal(cropped["time_new_pos_embed"], stretched["time_new_pos_embed"])
    assert report.adapted["time_new_pos_embed"].startswith("cropped")
    with pytest.raises(CheckpointError, match="has 30 positions, the network 187: too few to crop"):
        adapt(network.state_dict(), source, "maest", positions="crop")


def test_equal_networks_load_unchanged(network):
    source = {key: torch.randn_like(value) for key, value in network.state_dict().items()}
    state, report = adapt(source, network.state_dict(), "own")
    assert all(torch.equal(state[key], source[key]) for key in source)
    assert (report.adapted, report.reinitialised, report.ignored) == ({}, [], [])


def test_the_head_can_be_discarded(network):
    source = {key: torch.randn_like(value) for key, value in network.state_dict().items()}
    _, report = adapt(source, network.state_dict(), "own", discard_head=True)
    assert report.reinitialised == [*HEAD_NORM, *HEADS]


def without(key):
    return lambda state: state.pop(key)


def resized(key, *shape):
    return lambda state: state.update({key: torch.zeros(*shape)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("blocks.1.mlp.fc1.bias"), "missing blocks.1.mlp.fc1.bias; expected the keys"),
        (without("head.1.weight"), "missing head.1.weight"),
        (resized("blocks.1.norm3.weight", 32), "unexpected blocks.1.norm3.weight; "),
        (
            resized("cls_token", 1, 1, 48),
            r"cls_token has the shape \[1, 1, 48\], the network expects \[1, 1, 32\]; build",
        ),
        (
            resized("patch_embed.proj.weight", 32, 1, 8, 8),
            r"\[32, 1, 8, 8\].*\[32, 1, 16, 16\]; patches must be 16 x 16",
        ),
        (resized("head.0.weight", 48), "discard_head=True"),
        (lambda state: state["norm.bias"].fill_(float("nan")), "norm.bias holds NaN"),
    ],
)
def test_anything_else_is_an_error(network, change, message):
    source = {key: value.clone() for key, value in network.state_dict().items()}
    change(source)
    with pytest.raises(CheckpointError, match=message):
        adapt(source, network.state_dict(), "own")


def test_an_unknown_way_to_fit_positions_is_refused(network):
    with pytest.raises(CheckpointError, match="positions='squeeze': expected one of stretch, crop"):
        adapt({}, network.state_dict(), "own", positions="squeeze")
