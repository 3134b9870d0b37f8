"""Dropout by few random numbers: rates, expectations, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch

from models.dropout import Dropout


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.5])
def test_values_are_dropped_at_the_rate_and_the_others_grow(rate):
    torch.manual_seed(0)
    x = torch.ones(401, 499, requires_grad=True)
    dropped = Dropout(rate)(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=4e-3)
    torch.testing.assert_close(dropped.unique(), torch.tensor([0, 1 / (1 - rate)]))
    dropped.sum().backward()
    torch.testing.assert_close(x.grad, dropped.detach())


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(100_000)) > 0).float()
    for distance in range(1, 9):
        assert (kept[distance:] * kept[:-distance]).mean().item() == pytest.approx(0.25, abs=0.01)


def test_seeds_evaluation_and_a_rate_of_zero():
    x = torch.randn(3, 5)
    first, second = (torch.manual_seed(7), Dropout(0.5)(x))[1], (torch.manual_seed(7), Dropout(0.5)(x))[1]
    assert torch.equal(first, second)
    assert Dropout(0.5).eval()(x) is x or torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert Dropout(0.5)(x.bfloat16()).dtype == torch.bfloat16


def test_values_in_any_order_of_memory_are_dropped_alike():
    torch.manual_seed(0)
    for x in (torch.ones(2, 20, 301, 7).contiguous(memory_format=torch.channels_last), torch.ones(50, 1, 80).mT[::2]):
        dropped = Dropout(0.5)(x)
        assert dropped.shape == x.shape
        assert dropped.stride() == torch.empty_like(x).stride()
        assert (dropped == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
