"""Convolution, batch norm, ReLU and max-pooling in one, for training on a CPU in few passes over memory.

On a CPU the time of a convolutional tagger goes to memory as much as to products: every tensor of the size of a
convolution's output costs more to bring into being than to fill. `conv_norm_pool` computes exactly what the four one
after the other would, with fewer of them:

* ReLU and max-pooling commute, and so do max-pooling and batch norm where its scale is not negative; a negative one is
  turned around by the sign of the filter. So only pooled cells are normalised.
* The bias of a convolution in front of batch norm cancels. It is left out, and its gradient is zero.
* The gradient in front of batch norm is an affine function of the convolution's output, but for the cells that won.
* A convolution of few channels is repeated in the backward pass; see `models.patches`.

Tensors are `[batch, channels, bands, frames]` in the memory format `channels_last`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.batch_norm import SmallBatchNorm
from models.patches import Patches, Piece, empty_channels_last, few_inputs, pieces, rows_of

threshold_backward = torch.ops.aten.threshold_backward  # of ReLU


def fusable(x: Tensor, *layers: nn.Module) -> bool:
    """Whether the functions here do for such input and layers: training in full precision on a CPU, uncompiled.

    Layers of other classes, such as adapters and synchronised batch norm, and layers with hooks, such as those of
    pruning, run by themselves. What is fused has no second derivative, and torch.func cannot see into it.
    """
    return (
        not torch.compiler.is_compiling()  # first: a length that is looked at becomes a constant of an export
        and x.device.type == "cpu"
        and len(x) > 1
        and x.dtype in (torch.float32, torch.float64)
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and all(map(is_plain, layers))
    )


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer does what its parameters say: a convolution, or a batch norm by the statistics of the batch."""
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        return False
    if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d, SmallBatchNorm):
        return layer.training and layer.affine and layer.track_running_stats and layer.momentum is not None
    return type(layer) in (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d)


def conv_norm_pool(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, pool: tuple[int, int]) -> Tensor:
    """Convolution, batch norm, ReLU and max-pooling; the running statistics are updated.

    Args:
        x: `[batch, channels, bands, frames]`.
        conv: Without groups and dilation.
        norm: Of its output.
        pool: Bands and frames that become one.
    """
    sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(x.dtype)
    weight = conv.weight * sign.view(-1, 1, 1, 1)
    behind = (conv.bias, norm.weight, norm.bias, sign, norm.eps, pool)
    if few_inputs(conv):
        y, mean, var, count = _FewInputs.apply(x, weight, conv.stride, conv.padding, *behind)
    else:
        x = x.contiguous(memory_format=torch.channels_last)
        y, mean, var, count = _NormPool.apply(F.conv2d(x, weight, None, conv.stride, conv.padding), *behind)
    update_statistics(norm, mean * sign, var, count, conv.bias)
    return y


@torch.no_grad()
def update_statistics(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor, count: int, bias: Tensor | None) -> None:
    """Running statistics after a batch, the bias in front included."""
    norm.running_mean.lerp_(mean if bias is None else mean + bias, norm.momentum)
    norm.running_var.lerp_(var * (count / max(count - 1, 1)), norm.momentum)
    norm.num_batches_tracked.add_(1)


class Moments:
    """Mean and variance by channel over pieces, whose digits do not depend on how far the mean is from zero."""

    def __init__(self) -> None:
        self.shift: Tensor | None = None
        self.count, self.sum, self.squares = 0, 0.0, 0.0

    def add(self, rows: Tensor) -> None:
        """Cells `[cells, channels]`."""
        if self.shift is None:
            self.shift = rows.mean(0)
        centred = rows - self.shift
        self.count += len(rows)
        self.sum = self.sum + centred.sum(0).double()
        self.squares = self.squares + centred.square_().sum(0).double()

    def result(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, int]:
        """Mean, biased variance, number of cells."""
        mean = self.sum / self.count
        var = (self.squares / self.count - mean.square()).clamp(min=0)
        return (self.shift + mean).to(dtype), var.to(dtype), self.count


def _finish(ctx: Any, winners: Tensor, moments: Moments, behind: tuple[Any, ...], *saved: Tensor) -> tuple[Any, ...]:
    """Batch norm and ReLU of pooled cells; what the backward pass needs is kept.

    Returns:
        Output, mean, biased variance, number of cells.
    """
    bias, gamma, beta, sign, eps, pool = behind
    mean, var, count = moments.result(winners.dtype)
    scale = gamma.abs() * torch.rsqrt(var + eps)
    shift = beta - mean * scale
    y = torch.addcmul(shift.view(1, -1, 1, 1), winners, scale.view(1, -1, 1, 1)).relu_()
    ctx.save_for_backward(winners, y, mean, var, gamma, sign, *saved)
    ctx.eps, ctx.pool, ctx.count, ctx.bias = eps, pool, count, bias is not None
    ctx.mark_non_differentiable(mean, var)
    return y, mean, var, count


class _Slopes:
    """What the backward pass has to know of the whole batch before it can turn to pieces.

    Attributes:
        parameters: Gradients of bias, scale and shift.
    """

    def __init__(self, ctx: Any, grad: Tensor) -> None:
        winners, y, mean, var, gamma, sign = ctx.saved_tensors[:6]
        inverse = torch.rsqrt(var + ctx.eps)
        self.grad, self.winners, self.scale = threshold_backward(grad, y, 0), winners, gamma.abs() * inverse
        beta = self.grad.sum((0, 2, 3))
        covariance = (winners - mean.view(1, -1, 1, 1)).mul_(self.grad).sum((0, 2, 3))
        self.parameters = (torch.zeros_like(beta) if ctx.bias else None, covariance * inverse * sign, beta)
        self.slope = -self.scale * inverse.square() * covariance / ctx.count
        self.offset = -self.scale * beta / ctx.count - self.slope * mean

    def write(self, z: Tensor, piece: Piece, pool: tuple[int, int], out: Tensor) -> Tensor:
        """Gradient of a piece of the convolution's output."""
        samples, _, pooled = piece
        _, where = F.max_pool2d(z, pool, return_indices=True)
        as_cells = (1, -1, 1, 1)
        torch.addcmul(self.offset.view(as_cells), z, self.slope.view(as_cells), out=out)
        won = rows_of(self.winners[samples, :, pooled])
        values = rows_of(self.grad[samples, :, pooled]) * self.scale
        values.addcmul_(won, self.slope).add_(self.offset)
        rows_of(out).scatter_(1, rows_of(where), values)
        return out


class _NormPool(Function):
    """Batch norm, ReLU and max-pooling of a convolution's output without its bias."""

    @staticmethod
    def forward(ctx, z, *behind):
        """See `_finish`."""
        z = z.contiguous(memory_format=torch.channels_last)
        (batch, channels, tall, wide), pool = z.shape, behind[-1]
        winners, moments = empty_channels_last((batch, channels, tall // pool[0], wide // pool[1]), z), Moments()
        for samples, bands, pooled in pieces(batch, tall, wide * channels, pool[0]):
            part = z[samples, :, bands]
            winners[samples, :, pooled] = F.max_pool2d(part, pool)
            moments.add(rows_of(part).flatten(0, 1))
        return _finish(ctx, winners, moments, behind, z)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_):
        """Of the convolution's output, and of the parameters behind it."""
        slopes = _Slopes(ctx, grad)
        z = ctx.saved_tensors[6]
        batch, channels, tall, wide = z.shape
        dz = torch.empty_like(z)
        for piece in pieces(batch, tall, wide * channels, ctx.pool[0]):
            samples, bands, _ = piece
            slopes.write(z[samples, :, bands], piece, ctx.pool, out=dz[samples, :, bands])
        return dz, *slopes.parameters, None, None, None


class _FewInputs(Function):
    """The same with the convolution, which is repeated in the backward pass."""

    @staticmethod
    def forward(ctx, x, weight, stride, padding, *behind):
        """See `_finish`."""
        patches, pool = Patches(x, weight, stride, padding), behind[-1]
        winners, moments = patches.pooled(pool), Moments()
        for samples, bands, pooled in patches.pieces(pool[0]):
            z = patches.convolved(patches.columns(samples, bands), bands)
            winners[samples, :, pooled] = F.max_pool2d(z, pool)
            moments.add(rows_of(z).flatten(0, 1))
        ctx.stride, ctx.padding = stride, padding
        return _finish(ctx, winners, moments, behind, x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_):
        """Of input and filters, and of the parameters behind them."""
        slopes = _Slopes(ctx, grad)
        patches = Patches(*ctx.saved_tensors[6:], ctx.stride, ctx.padding)
        for piece in patches.pieces(ctx.pool[0]):
            samples, bands, _ = piece
            columns = patches.columns(samples, bands)
            z = patches.convolved(columns, bands)
            dz = rows_of(slopes.write(z, piece, ctx.pool, out=z)).flatten(0, 1)
            patches.add_gradients(columns, dz, samples, bands, ctx.needs_input_grad[0])
        return *patches.gradients(), None, None, *slopes.parameters, None, None, None
