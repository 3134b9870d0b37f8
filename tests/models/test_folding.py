"""Folded networks give what the network gives, in parts and in channels_last."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from models import folding
from models.convolutional import ConvBlock, ResBlock
from tests.models.taggers import with_statistics

BLOCKS = [
    (ConvBlock(1, 6, (2, 4)), (3, 1, 9, 22)),
    (ConvBlock(16, 8, (3, 5)), (3, 16, 10, 11)),
    (ResBlock(1, 4, 2), (3, 1, 9, 12)),
    (ResBlock(16, 16, 1), (3, 16, 7, 9)),
]


@pytest.mark.parametrize(("block", "shape"), BLOCKS)
@pytest.mark.parametrize("together", [2**22, 1])
def test_a_folded_block_gives_the_same(block, shape, together, monkeypatch):
    monkeypatch.setattr(folding, "LARGEST_OUTPUT", together)
    torch.manual_seed(0)
    block = with_statistics(block)
    folded = folding.fold(copy.deepcopy(block))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), block(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(folded(x), block(x), rtol=1e-4, atol=1e-5)  # where gradients are on, too


def test_a_batch_norm_that_no_block_names_stays():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)).eval()
    assert isinstance(folding.fold(network)[2], nn.BatchNorm2d)
