"""Batch norm and its surroundings in few passes: values, gradients and statistics of the layers one after another."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from experiments.configs.catalogue import TRANSFER
from models import fused_sums, networks, patches
from models.convolutional import ConvBlock, ResBlock
from models.fused_norms import conv_norm_pool, fusable
from models.musicnn import Timbral
from tests.models.taggers import spectrogram


@pytest.fixture(params=[patches.PIECE, 300], ids=["whole", "in pieces"])
def pieces(request, monkeypatch):
    monkeypatch.setattr(patches, "PIECE", request.param)
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
            patch.setattr("models.convolutional.fusable", lambda *_: False)
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


def test_only_training_in_full_precision_on_a_cpu_is_fused():
    x, conv, norm = torch.randn(2, 1, 8, 8), nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1)
    assert fusable(x, conv, norm)
    assert not any(fusable(other, conv, norm) for other in (x[:1], x.to("meta"), x.bfloat16()))
    for other in (nn.BatchNorm2d(1).eval(), nn.BatchNorm2d(1, momentum=None), nn.SyncBatchNorm(1), nn.Identity()):
        assert not fusable(x, conv, other)
    with torch.no_grad():
        assert not fusable(x, conv, norm)
    with torch.autocast("cpu", torch.bfloat16):
        assert not fusable(x, conv, norm)


class Adapter(nn.Module):
    """A convolution with a learned addition, as low-rank adapters are."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.stride, self.padding = conv.weight, conv.bias, conv.stride, conv.padding
        self.conv, self.added = conv, copy.deepcopy(conv)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.added(x)


@pytest.mark.parametrize("block", [ConvBlock(1, 4), ResBlock(1, 4), Timbral(4, 3)])
def test_adapters_pruning_and_hooks_do_what_they_do_elsewhere(block):
    block, x = copy.deepcopy(block), torch.randn(2, 1, 8, 8, requires_grad=True)
    conv, norm = next(iter(block.folds.items()))
    seen = []
    handle = getattr(block, norm).register_forward_hook(lambda *_: seen.append(norm))
    block(x)
    assert seen == [norm]
    handle.remove()
    prune.l1_unstructured(getattr(block, conv), "weight", 0.5)
    for _ in range(2):  # the weight is computed anew in each step
        block(x).sum().backward()
    prune.remove(getattr(block, conv), "weight")
    setattr(block, conv, Adapter(getattr(block, conv)))
    block(x).square().sum().backward()
    assert getattr(block, conv).added.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "frames", "bands"), [("fcn", 1280, 96), ("short_chunk_res", 64, 128)])
def test_twenty_steps_of_a_training_are_those_of_the_layers(name, frames, bands, monkeypatch):
    states = []
    for fused in (True, False):
        if not fused:
            monkeypatch.setattr("models.convolutional.fusable", lambda *_: False)
        torch.manual_seed(0)
        network = networks.find(name)(n_classes=3, **TRANSFER["debug"].by_network[name]["model"]).double().train()
        x, y = spectrogram(frames, bands).double(), torch.eye(2, 3, dtype=torch.float64)
        optimiser = torch.optim.Adam(network.parameters(), 1e-3)
        for _ in range(20):
            optimiser.zero_grad()
            F.binary_cross_entropy_with_logits(network(x), y).backward()
            optimiser.step()
        states.append(network.state_dict())
    fused, plain = states
    assert fused.keys() == plain.keys()
    for key in fused:
        torch.testing.assert_close(fused[key], plain[key], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("block", [ConvBlock(1, 4), ResBlock(16, 4)])
def test_autocast_trains(block):
    x = torch.randn(2, block.state_dict()[next(iter(block.state_dict()))].shape[1], 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        block(x).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


@pytest.mark.parametrize("block", [ConvBlock(1, 4), ResBlock(1, 4)])
def test_an_export_takes_batches_of_any_size(block):
    sizes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    program = torch.export.export(copy.deepcopy(block).eval(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=sizes)
    assert program.module()(torch.zeros(5, 1, 8, 8)).shape == (5, 4, 4, 4)
