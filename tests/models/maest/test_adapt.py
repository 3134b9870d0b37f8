"""Weights of other networks arrive as stated, and nothing else passes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.errors import CheckpointError
from models.maest import MAEST
from models.maest.adapt import adapt

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
    assert str(report).endswith(f"  new heads: {', '.join(HEADS)}; random here, those of the file are left out")
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


def test_blocks_beyond_the_networks_last_are_left_out_and_named(network):
    deep = MAEST(n_classes=7, n_frames=312, dim=32, depth=5, heads=2).state_dict()
    state, report = adapt(deep, network.state_dict(), "deep")
    assert torch.equal(state["blocks.1.norm1.weight"], deep["blocks.1.norm1.weight"])
    assert {key.split(".")[1] for key in report.ignored} == {"2", "3", "4"}
    assert len(report.ignored) == 3 * 12
    assert "ignored: blocks.2, blocks.3, blocks.4" in str(report)
    assert report.reinitialised == []


def test_fewer_blocks_than_the_networks_are_an_error_unless_asked_for(network):
    shallow = {key: value for key, value in network.state_dict().items() if not key.startswith("blocks.1.")}
    with pytest.raises(CheckpointError, match=r"has 1 blocks, the network 2: lower depth.*missing_blocks=random"):
        adapt(shallow, network.state_dict(), "shallow")
    state, report = adapt(shallow, network.state_dict(), "shallow", missing_blocks="random")
    assert len(report.reinitialised) == 12
    assert "random: blocks.1" in str(report)
    assert torch.equal(state["blocks.1.mlp.fc1.weight"], network.state_dict()["blocks.1.mlp.fc1.weight"])
    del shallow["blocks.0.norm1.bias"]
    with pytest.raises(CheckpointError, match=r"missing blocks\.0\.norm1\.bias"):
        adapt(shallow, network.state_dict(), "shallow", missing_blocks="random")
    with pytest.raises(CheckpointError, match="missing_blocks='zero': expected one of refuse, random"):
        adapt(shallow, network.state_dict(), "shallow", missing_blocks="zero")


def test_rows_of_the_head_follow_the_names_of_their_classes(network):
    source = {key: torch.randn_like(value) for key, value in network.state_dict().items()}
    ours, theirs = list("abcdefg"), list("gxbyzcw")
    state, report = adapt(source, network.state_dict(), "own", labels=(theirs, ours))
    for key in HEADS:
        for row, label in enumerate(ours):
            origin = source[key][theirs.index(label)] if label in theirs else network.state_dict()[key][row]
            assert torch.equal(state[key][row], origin)
        assert report.adapted[key] == "3 of 7 classes by name, the others random"
    assert all(key in report.loaded for key in HEAD_NORM)
    same, report = adapt(source, network.state_dict(), "own", labels=(ours, ours))
    assert torch.equal(same["head.1.weight"], source["head.1.weight"])
    assert report.adapted == {}
    _, report = adapt(source, network.state_dict(), "own", labels=(list("tuvwxyz"), ours))
    assert report.reinitialised == HEADS
    assert report.ignored == HEADS


def test_names_find_classes_among_another_number_of_them(network):
    source = MAEST(n_classes=9, n_frames=312, **SHAPE).state_dict()
    state, report = adapt(source, network.state_dict(), "own", labels=(list("ihgfedcba"), list("abcdefg")))
    assert torch.equal(state["head.1.weight"], source["head.1.weight"].flip(0)[:7])
    assert report.adapted["head.1.bias"].startswith("7 of 7")
    _, report = adapt(source, network.state_dict(), "own", labels=(list("abc"), list("abcdefg")))
    assert report.reinitialised == HEADS


def test_a_second_head_of_its_own_size_goes_alone(network):
    source = MAEST(n_classes=7, n_classes_dist=3, n_frames=312, **SHAPE).state_dict()
    _, report = adapt(source, network.state_dict(), "own")
    assert report.reinitialised == HEADS[2:] == report.ignored


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(12, 99), (10, 83), (9, 71), (8, 62), (12, 200), (12, 300)],
    ids=["stride 10", "stride 12", "stride 14", "stride 16", "20 s", "30 s"],
)
def test_every_grid_of_passt_fits(network, rows, columns):
    source = passt()
    source["freq_new_pos_embed"] = torch.randn(1, 32, rows, 1)
    source["time_new_pos_embed"] = torch.randn(1, 32, 1, columns)
    state, report = adapt(source, network.state_dict(), "passt")
    assert state["freq_new_pos_embed"].shape[2:] == (9, 1)
    assert state["time_new_pos_embed"].shape[2:] == (1, 30)
    assert report.reinitialised == HEADS
    assert set(report.adapted) <= {"freq_new_pos_embed", "time_new_pos_embed"}
    if rows == 9:
        assert torch.equal(state["freq_new_pos_embed"], source["freq_new_pos_embed"])


def test_passt_with_seven_blocks_starts_seven_blocks():
    light = MAEST(n_classes=527, n_bands=128, n_frames=998, dim=32, depth=7, heads=2).state_dict()
    seven = MAEST(n_classes=7, n_frames=312, dim=32, depth=7, heads=2)
    _, report = adapt(light, seven.state_dict(), "passt_l")
    assert report.reinitialised == HEADS
    assert sum(key.startswith("blocks.") for key in report.loaded) == 7 * 12
