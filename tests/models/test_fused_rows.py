"""Layers along time in one against the same layers one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.batch_norm import SmallBatchNorm
from models.fused_norms import fusable
from models.fused_rows import norm_pooled


def layers(inputs: int, kernel: int, stride: int) -> tuple[nn.Conv1d, SmallBatchNorm]:
    torch.manual_seed(0)
    conv, norm = nn.Conv1d(inputs, 5, kernel, stride, 1), SmallBatchNorm(5)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -0.5, 2.0, 0.3, -1.0]))
        norm.bias.uniform_(-0.5, 0.5)
    return conv.double(), norm.double()


@pytest.mark.parametrize(("inputs", "kernel", "stride"), [(1, 3, 3), (4, 3, 1), (8, 5, 1), (6, 2, 1)])
@pytest.mark.parametrize("pool", [1, 2, 3])
def test_outputs_gradients_and_statistics_are_those_of_four_layers(inputs, kernel, stride, pool):
    results = []
    for plain in (False, True):
        conv, norm = layers(inputs, kernel, stride)
        x = torch.randn(3, inputs, 100, dtype=torch.double, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = F.max_pool1d(norm(conv(x)).relu(), pool) if plain else norm_pooled(x, conv, norm, pool)
        (y * torch.linspace(-1, 1, y.shape[2])).sum().backward()
        results.append([y, x.grad, conv.weight.grad, norm.weight.grad, norm.bias.grad, norm.running_mean])
        results[-1] += [norm.running_var, norm.num_batches_tracked]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_network_along_time_is_trained_so():
    conv, norm = layers(4, 3, 1)
    x = torch.randn(2, 4, 9, dtype=torch.double)
    assert fusable(x, conv, norm)
    assert not fusable(x, conv, norm.eval())
    with torch.no_grad():
        expected = F.max_pool1d(norm(conv(x)), 3).relu()
        torch.testing.assert_close(norm_pooled(x, conv, norm, 3), expected)
        assert torch.equal(norm_pooled(x, conv, nn.Identity(), 3), F.max_pool1d(conv(x), 3).relu())
