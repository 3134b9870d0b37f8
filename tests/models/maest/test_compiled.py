"""Compiled networks: equal to the plain one, and compiled once, whatever patchout draws."""

from __future__ import annotations

import pytest
import torch
import torch._dynamo as dynamo

from models.maest import MAEST
from models.maest.compiled import compile_blocks

SMALL = {"n_classes": 7, "n_frames": 125, "dim": 48, "depth": 4, "heads": 3, "time_positions": 14}
PATCHOUT = {"s_patchout_t": 4, "s_patchout_f": 2, "u_patchout": 3}


@pytest.fixture(autouse=True)
def _fresh():
    """No graphs of other tests."""
    dynamo.reset()
    dynamo.utils.counters.clear()
    yield
    dynamo.reset()


def graphs() -> int:
    """Graphs compiled so far."""
    return dynamo.utils.counters["stats"]["unique_graphs"]


def compiled(**settings) -> MAEST:
    """Without the compiler behind: what is looked at is how often it would be called, and with what."""
    torch.manual_seed(0)
    return compile_blocks(MAEST(**SMALL, **settings), backend="aot_eager")


@pytest.mark.parametrize(
    ("settings", "expected"), [(PATCHOUT, 2), ({**PATCHOUT, "stochastic_depth": 0.3, "dropout": 0.1}, 3)]
)
def test_steps_share_the_graphs_of_the_first(settings, expected):
    network = compiled(**settings).train()
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)
    for frames in (125, 125, 125):
        network(torch.randn(2, frames, 96)).square().sum().backward()
        optimiser.step()
        assert graphs() == expected  # all blocks but the last; the last; the first, which drops nothing
    assert not dynamo.utils.counters["graph_break"]


def test_many_sizes_of_batch_are_all_compiled():
    network = compiled().eval()
    with torch.no_grad():
        for batch in range(1, 7):
            network(torch.randn(batch, 40, 96))
    assert graphs() == 12


def test_the_values_and_gradients_are_those_of_the_plain_network():
    plain, fast = MAEST(**SMALL, **PATCHOUT).train(), compiled(**PATCHOUT).train()
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(2, 125, 96)
    for network in (plain, fast):
        torch.manual_seed(5)
        network(x).square().sum().backward()
    assert list(fast.state_dict()) == list(plain.state_dict())
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(fast.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-6)
