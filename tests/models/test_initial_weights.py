"""What is said of initial weights of networks that were trained without labels."""

from __future__ import annotations

import pytest
import torch

from models import networks
from models.network import Network

SIZES = {
    "clmr": {"channels": [4] * 11},
    "maest": {"n_frames": 48, "dim": 8, "depth": 1, "heads": 2},
}
HEADS = {"clmr": "dense", "maest": "head, head_dist"}


def made(name: str, n_classes: int, **given) -> Network:
    return networks.find(name)(n_classes=n_classes, **SIZES[name], **given)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("discard_head", [False, True])
def test_a_head_that_the_file_has_none_of_is_new(name, discard_head):
    network = made(name, 3)
    state, report = network.fit_weights(made(name, 0).state_dict(), "file", discard_head=discard_head)
    assert str(report).splitlines()[1:] == [f"  new head: {HEADS[name]}"]
    network.load_state_dict(state)


def test_so_is_one_with_a_hidden_layer():
    network = made("clmr", 3, hidden=5)
    state, report = network.fit_weights(made("clmr", 0).state_dict(), "file", discard_head=True)
    assert str(report).splitlines()[1:] == ["  new head: dense"]
    assert torch.equal(state["dense.2.weight"], network.dense[2].weight)


def test_without_outputs_on_either_side_there_is_nothing_to_say():
    _, report = made("clmr", 0).fit_weights(made("clmr", 0).state_dict(), "file")
    assert "\n" not in str(report)
