"""Batch norm with what stands around it, for training on a CPU in few passes over memory.

On a CPU the time of a convolutional tagger goes to memory as much as to products: every tensor of the size of a
convolution's output costs more to bring into being than to fill. These functions compute exactly what convolution,
batch norm, ReLU and max-pooling one after the other would, with fewer of them:

* ReLU and max-pooling commute, and so do max-pooling and batch norm where its scale is not negative; a negative one is
  turned around by the sign of the filter. So only pooled cells are normalised.
* The bias of a convolution in front of batch norm cancels. It is left out, and its gradient is zero.
* The gradient in front of batch norm is an affine function of the convolution's output, but for the cells that won.
* A convolution of few channels is a thin matrix product, cheap enough to be repeated in the backward pass, so that its
  output, the largest of all, never exists as a whole.

Tensors are `[batch, channels, bands, frames]` in the memory format `channels_last`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

PIECE = 2**20  # elements that are worked on at a time: they stay in a cache, and threads rarely wait for each other
FEW = 64  # inputs of a filter up to which its products are cheap enough to be repeated

Norm = nn.BatchNorm1d | nn.BatchNorm2d
Piece = tuple[slice, slice, slice]  # samples, bands, and the bands that are left after pooling


def suits(x: Tensor, *norms: nn.Module) -> bool:
    """Whether these functions are for such input: training in full precision on a CPU, uncompiled."""
    return (
        x.device.type == "cpu"
        and len(x) > 1
        and x.dtype in (torch.float32, torch.float64)
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and all(
            isinstance(norm, Norm)
            and norm.training
            and norm.affine
            and norm.track_running_stats
            and norm.momentum is not None
            for norm in norms
        )
    )


def conv_norm_pool(x: Tensor, conv: nn.Conv2d, norm: Norm, pool: tuple[int, int]) -> Tensor:
    """Convolution, batch norm, ReLU and max-pooling, whose running statistics are updated.

    Args:
        x: `[batch, channels, bands, frames]`.
        conv: Without groups and dilation.
        norm: Of its output.
        pool: Bands and frames that become one.
    """
    sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(x.dtype)
    weight = conv.weight * sign.view(-1, 1, 1, 1)
    tail = (conv.bias, norm.weight, norm.bias, sign, norm.eps, pool)
    if weight[0].numel() <= FEW:
        y, mean, var, count = _FewChannels.apply(x, weight, conv.stride, conv.padding, *tail)
    else:
        x = x.contiguous(memory_format=torch.channels_last)
        y, mean, var, count = _NormPool.apply(F.conv2d(x, weight, None, conv.stride, conv.padding), *tail)
    track(norm, mean * sign, var, count, conv.bias)
    return y


def conv_without_bias(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Convolution for a batch norm behind it, in channels_last.

    Args:
        x: `[batch, channels, bands, frames]`.
        conv: Without groups and dilation.
    """
    if conv.weight[0].numel() <= FEW:
        return _FewChannelsAlone.apply(x, conv.weight, conv.stride, conv.padding)
    return F.conv2d(x.contiguous(memory_format=torch.channels_last), conv.weight, None, conv.stride, conv.padding)


def track(norm: Norm, mean: Tensor, var: Tensor, count: int, bias: Tensor | None) -> None:
    """Running statistics after a batch, the bias in front included."""
    with torch.no_grad():
        mean = mean if bias is None else mean + bias
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_((var * (count / max(count - 1, 1))).to(norm.running_var.dtype), norm.momentum)
        norm.num_batches_tracked.add_(1)


def _pieces(samples: int, bands: int, band: int, pool: int) -> Iterator[Piece]:
    """Parts of a map that are worked on one after the other.

    Args:
        samples: In the batch.
        bands: Of the map.
        band: Elements of one.
        pool: Bands that become one; what is left over at the end belongs to the last piece of a sample.
    """
    pooled, step = bands // pool, max(1, PIECE // (pool * band))
    if bands * band <= PIECE:
        together = PIECE // (bands * band)
        for first in range(0, samples, together):
            yield slice(first, first + together), slice(0, bands), slice(0, pooled)
        return
    for sample in range(samples):
        for first in range(0, pooled, step):
            last = min(first + step, pooled)
            end = bands if last == pooled else last * pool
            yield slice(sample, sample + 1), slice(first * pool, end), slice(first, last)


class Moments:
    """Mean and variance by channel over pieces, whose digits do not depend on how far the mean is from zero."""

    def __init__(self) -> None:
        self.shift: Tensor | None = None
        self.count, self.sum, self.squares = 0, 0.0, 0.0

    def add(self, rows: Tensor) -> None:
        """Rows `[n, channels]`."""
        if self.shift is None:
            self.shift = rows.mean(0)
        apart = rows - self.shift
        self.count += len(rows)
        self.sum = self.sum + apart.sum(0).double()
        self.squares = self.squares + apart.square_().sum(0).double()

    def result(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, int]:
        """Mean, biased variance, number of rows."""
        mean = self.sum / self.count
        var = (self.squares / self.count - mean.square()).clamp(min=0)
        return (self.shift + mean).to(dtype), var.to(dtype), self.count


def rows_of(cells: Tensor) -> Tensor:
    """`[batch, channels, bands, frames]` in channels_last as a view `[batch, bands * frames, channels]`."""
    return cells.permute(0, 2, 3, 1).flatten(1, 2)


def empty_like_last(shape: Sequence[int], of: Tensor) -> Tensor:
    """Uninitialised, in channels_last."""
    return torch.empty(shape, dtype=of.dtype, device=of.device, memory_format=torch.channels_last)


def _normalised(winners: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """Pooled cells behind batch norm and ReLU."""
    scale = gamma.abs() * torch.rsqrt(var + eps)
    shift = beta - mean * scale
    return torch.addcmul(shift.view(1, -1, 1, 1), winners, scale.view(1, -1, 1, 1)).relu_()


class _Slopes:
    """What the backward pass has to know of the whole batch before it can turn to pieces.

    Attributes:
        gamma: Gradient of the scale.
        beta: Gradient of the shift.
    """

    def __init__(self, ctx: Any, grad: Tensor) -> None:
        winners, y, mean, var, gamma, sign = ctx.saved_tensors[:6]
        inverse = torch.rsqrt(var + ctx.eps)
        self.grad, self.winners, self.scale = grad * (y > 0), winners, gamma.abs() * inverse
        self.beta = self.grad.sum((0, 2, 3))
        covariance = (winners - mean.view(1, -1, 1, 1)).mul_(self.grad).sum((0, 2, 3))
        self.gamma = covariance * inverse * sign
        self.slope = -self.scale * inverse.square() * covariance / ctx.count
        self.offset = -self.scale * self.beta / ctx.count - self.slope * mean

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
    def forward(ctx, z, bias, gamma, beta, sign, eps, pool):
        """See `conv_norm_pool`."""
        z = z.contiguous(memory_format=torch.channels_last)
        batch, channels, bands, frames = z.shape
        winners = empty_like_last((batch, channels, bands // pool[0], frames // pool[1]), z)
        moments = Moments()
        for samples, high, pooled in _pieces(batch, bands, frames * channels, pool[0]):
            part = z[samples, :, high]
            winners[samples, :, pooled] = F.max_pool2d(part, pool)
            moments.add(rows_of(part).flatten(0, 1))
        mean, var, count = moments.result(z.dtype)
        y = _normalised(winners, mean, var, gamma, beta, eps)
        ctx.save_for_backward(winners, y, mean, var, gamma, sign, z)
        ctx.eps, ctx.pool, ctx.count, ctx.bias = eps, pool, count, bias is not None
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_):
        """Of the convolution's output, and of the parameters behind it."""
        slopes = _Slopes(ctx, grad)
        z = ctx.saved_tensors[6]
        batch, channels, bands, frames = z.shape
        dz = torch.empty_like(z)
        for piece in _pieces(batch, bands, frames * channels, ctx.pool[0]):
            samples, high, _ = piece
            slopes.write(z[samples, :, high], piece, ctx.pool, out=dz[samples, :, high])
        bias = torch.zeros_like(slopes.beta) if ctx.bias else None
        return dz, bias, slopes.gamma, slopes.beta, None, None, None


class _FewChannels(Function):
    """The same with the convolution, as a product of filters and patches that is repeated in the backward pass."""

    @staticmethod
    def forward(ctx, x, weight, stride, padding, bias, gamma, beta, sign, eps, pool):
        """See `conv_norm_pool`."""
        patches = Patches(x, weight, stride, padding)
        winners = empty_like_last((len(x), len(weight), patches.bands // pool[0], patches.frames // pool[1]), x)
        moments = Moments()
        for samples, high, pooled in patches.pieces(pool[0]):
            z = patches.cells(patches.of(samples, high), samples, high)
            winners[samples, :, pooled] = F.max_pool2d(z, pool)
            moments.add(rows_of(z).flatten(0, 1))
        mean, var, count = moments.result(x.dtype)
        y = _normalised(winners, mean, var, gamma, beta, eps)
        ctx.save_for_backward(winners, y, mean, var, gamma, sign, x, weight)
        ctx.eps, ctx.pool, ctx.count, ctx.bias = eps, pool, count, bias is not None
        ctx.stride, ctx.padding = stride, padding
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_):
        """Of input and filters, and of the parameters behind them."""
        slopes = _Slopes(ctx, grad)
        x, weight = ctx.saved_tensors[6:]
        patches = Patches(x, weight, ctx.stride, ctx.padding)
        for piece in patches.pieces(ctx.pool[0]):
            samples, high, _ = piece
            taken = patches.of(samples, high)
            z = patches.cells(taken, samples, high)
            dz = rows_of(slopes.write(z, piece, ctx.pool, out=z)).flatten(0, 1)
            patches.collect(taken, dz, samples, high, ctx.needs_input_grad[0])
        bias = torch.zeros_like(slopes.beta) if ctx.bias else None
        dx, dw = patches.gradients(ctx.needs_input_grad[0])
        return dx, dw, None, None, bias, slopes.gamma, slopes.beta, None, None, None


class _FewChannelsAlone(Function):
    """A convolution of few channels, without bias."""

    @staticmethod
    def forward(ctx, x, weight, stride, padding):
        """`[batch, channels, bands, frames]`."""
        patches = Patches(x, weight, stride, padding)
        z = empty_like_last((len(x), len(weight), patches.bands, patches.frames), x)
        for samples, high, _ in patches.pieces(1):
            torch.mm(patches.of(samples, high).t(), patches.filters, out=rows_of(z[samples, :, high]).flatten(0, 1))
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Of input and filters."""
        patches = Patches(*ctx.saved_tensors, ctx.stride, ctx.padding)
        grad = grad.contiguous(memory_format=torch.channels_last)
        for samples, high, _ in patches.pieces(1):
            dz = rows_of(grad[samples, :, high]).flatten(0, 1)
            patches.collect(patches.of(samples, high), dz, samples, high, ctx.needs_input_grad[0])
        return (*patches.gradients(ctx.needs_input_grad[0]), None, None)


class Patches:
    """Filters and the patches of a map that they are multiplied with, piece by piece."""

    def __init__(self, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> None:
        self.x, self.stride, self.padding, self.kernel = x, stride, padding, weight.shape[2:]
        self.filters = weight.flatten(1).t().contiguous()  # [inputs, channels]
        self.shape = weight.shape
        padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
        views = padded.unfold(2, self.kernel[0], stride[0]).unfold(3, self.kernel[1], stride[1])
        self.views = views.permute(1, 4, 5, 0, 2, 3)  # [channels, kernel, kernel, batch, bands, frames]
        self.bands, self.frames = views.shape[2:4]
        self.dw = torch.zeros_like(self.filters)
        self.padded_grad: Tensor | None = None

    def pieces(self, pool: int) -> Iterator[Piece]:
        """See `_pieces`."""
        return _pieces(len(self.x), self.bands, self.frames * self.shape[0], pool)

    def of(self, samples: slice, high: slice) -> Tensor:
        """Patches `[inputs, cells]` of a piece."""
        return self.views[:, :, :, samples, high].reshape(len(self.filters), -1)

    def cells(self, patches: Tensor, samples: slice, high: slice) -> Tensor:
        """The convolution's output of a piece, `[samples, channels, bands, frames]`."""
        rows = patches.t() @ self.filters
        return rows.view(-1, high.stop - high.start, self.frames, self.shape[0]).permute(0, 3, 1, 2)

    def collect(self, patches: Tensor, dz: Tensor, samples: slice, high: slice, input_too: bool) -> None:
        """Add the share of a piece to the gradients."""
        self.dw.addmm_(patches, dz)
        if not input_too:
            return
        if self.padded_grad is None:
            tall, wide = (self.x.shape[2 + i] + 2 * self.padding[i] for i in (0, 1))
            self.padded_grad = self.x.new_zeros(len(self.x), self.x.shape[1], tall, wide)
        grad = (self.filters @ dz.t()).view(*self.views.shape[:3], -1, high.stop - high.start, self.frames)
        rows, step = self.stride
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                ends = i + (high.stop - 1) * rows + 1, j + (self.frames - 1) * step + 1
                into = self.padded_grad[samples, :, i + high.start * rows : ends[0] : rows, j : ends[1] : step]
                into += grad[:, i, j].transpose(0, 1)

    def gradients(self, input_too: bool) -> tuple[Tensor | None, Tensor]:
        """Of input and filters."""
        dw = self.dw.t().reshape(self.shape)
        if not input_too:
            return None, dw
        (tall, wide), (high, long) = self.padding, self.x.shape[2:]
        return self.padded_grad[:, :, tall : tall + high, wide : wide + long], dw
