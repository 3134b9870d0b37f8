"""Batch norm and its surroundings in few passes: values, gradients and statistics of the layers one after another."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from models import fused_norms, fused_sums
from models.convolutional import ConvBlock, ResBlock
from models.fused_norms import conv_norm_pool, suits


@pytest.fixture(params=[2**18, 300], ids=["whole", "in pieces"])
def pieces(request, monkeypatch):
    monkeypatch.setattr(fused_norms, "PIECE", request.param)
    monkeypatch.setattr(fused_sums, "PIECE", request.param)


def shaken(block: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """With scales of batch norm of both signs."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in block.parameters():
            if parameter.ndim == 1:
                parameter.normal_()
    return block.to(dtype)


def trained(block: nn.Module, x: Tensor, fused: bool, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Output, gradients and statistics of a step."""
    block, x = copy.deepcopy(block).train(), x.clone().requires_grad_()
    with monkeypatch.context() as patch:
        if not fused:
            patch.setattr("models.convolutional.suits", lambda *_: False)
        y = block(x)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype))
    return [y.detach(), x.grad, *(parameter.grad for parameter in block.parameters()), *block.buffers()]


BLOCKS = [
    (ConvBlock(1, 6, (2, 4)), (4, 1, 9, 22)),
    (ConvBlock(16, 8, (3, 5)), (4, 16, 10, 11)),
    (ResBlock(1, 4, 2), (4, 1, 9, 12)),
    (ResBlock(16, 8, (2, 1)), (4, 16, 7, 9)),
    (ResBlock(16, 16, 1), (4, 16, 7, 9)),
]


@pytest.mark.parametrize(("block", "shape"), BLOCKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_gradients_and_statistics_are_those_of_the_layers(block, shape, dtype, pieces, monkeypatch):
    block = shaken(block, dtype)
    x = 3 * torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(2)) + 1
    ours, plain = (trained(block, x, fused, monkeypatch) for fused in (True, False))
    near = 1e-3 if dtype == torch.float32 else 1e-10
    for own, other in zip(ours, plain, strict=True):
        assert own.shape == other.shape
        torch.testing.assert_close(own, other, rtol=near, atol=near)


@pytest.mark.parametrize(("channels", "pool"), [(1, (2, 2)), (8, (2, 3)), (1, (1, 1))])
def test_gradients_are_those_of_differences(channels, pool):
    block = shaken(ConvBlock(channels, 3, pool), torch.float64)
    x = torch.randn(2, channels, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def of(x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        state = {"conv.weight": weight, "bn.weight": gamma, "bn.bias": beta}
        return torch.func.functional_call(block, state, (x,))

    inputs = [x, block.conv.weight, block.bn.weight, block.bn.bias]
    assert torch.autograd.gradcheck(of, [one.detach().clone().requires_grad_() for one in inputs])


def test_gradients_of_sums_are_those_of_differences():
    block = shaken(ResBlock(2, 3, (2, 1)), torch.float64)
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert torch.autograd.gradcheck(block, x.requires_grad_())


def test_equal_cells_give_their_gradient_to_the_first_as_pooling_does(monkeypatch):
    block, x = shaken(ConvBlock(1, 4, (2, 4)), torch.float64), torch.zeros(2, 1, 8, 16, dtype=torch.float64)
    x[0, 0, 0, 0] = 1.0
    for own, other in zip(*(trained(block, x, fused, monkeypatch) for fused in (True, False)), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-9)


def test_the_variance_of_values_far_from_zero_keeps_its_digits():
    block = ConvBlock(1, 2, (1, 1))
    with torch.no_grad():
        block.conv.weight.zero_()[:, :, 1, 1] = 1.0
    x = 1000 + torch.randn(4, 1, 20, 30, generator=torch.Generator().manual_seed(4))
    conv_norm_pool(x, block.conv, block.bn, (1, 1))
    expected = 0.9 + 0.1 * x.double().var()
    torch.testing.assert_close(block.bn.running_var.double(), expected.expand(2), rtol=1e-4, atol=0)


def test_two_steps_are_equal_to_the_last_bit(monkeypatch):
    block, x = shaken(ConvBlock(16, 8)), torch.randn(4, 16, 12, 12)
    first, second = (trained(block, x, True, monkeypatch) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_only_training_in_full_precision_on_a_cpu_is_taken():
    x, norm = torch.randn(2, 1, 8, 8), nn.BatchNorm2d(1)
    assert suits(x, norm)
    assert not suits(x[:1], norm)
    assert not suits(x.to("meta"), norm)
    assert not suits(x.bfloat16(), norm)
    assert not suits(x, nn.BatchNorm2d(1).eval())
    assert not suits(x, nn.BatchNorm2d(1, momentum=None))
    assert not suits(x, nn.Identity())
    with torch.no_grad():
        assert not suits(x, norm)
    with torch.autocast("cpu", torch.bfloat16):
        assert not suits(x, norm)


@pytest.mark.parametrize("block", [ConvBlock(1, 4), ResBlock(16, 4)])
def test_autocast_trains(block):
    x = torch.randn(2, block.state_dict()[next(iter(block.state_dict()))].shape[1], 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        block(x).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())
