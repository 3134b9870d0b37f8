"""Residual blocks in training on a CPU: batch norms that are added to each other and to a shortcut, and ReLU, in one.

One tensor is kept instead of four. For input and layers of which `models.fused_norms.fusable` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.fused_norms import Moments, threshold_backward, update_statistics
from models.patches import PIECE, Patches, few_inputs, rows_of

Branch = tuple[nn.Conv2d, nn.BatchNorm2d, Tensor]  # a convolution, the batch norm behind it, and the input


def add_branches(branches: Sequence[Branch], shortcut: Tensor | None = None) -> Tensor:
    """The sum of convolved and normalised inputs and of a shortcut, then ReLU; running statistics are updated.

    Args:
        branches: Of inputs `[batch, channels, bands, frames]`; convolutions without groups and dilation.
        shortcut: Of the shape of the output.
    """
    tensors = [part for conv, norm, x in branches for part in (_convolved(x, conv), conv.bias, norm.weight, norm.bias)]
    y, *moments, count = _Sum.apply([norm.eps for _, norm, _ in branches], shortcut, *tensors)
    for (conv, norm, _), mean, var in zip(branches, moments[::2], moments[1::2], strict=True):
        update_statistics(norm, mean, var, count, conv.bias)
    return y


def _convolved(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Without the bias, which the batch norm behind would take away; in channels_last."""
    if few_inputs(conv):
        return _FewInputs.apply(x, conv.weight, conv.stride, conv.padding)
    return F.conv2d(_channels_last(x), conv.weight, None, conv.stride, conv.padding)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _rows(x: Tensor) -> Tensor:
    """`[batch, channels, bands, frames]` in channels_last as a view `[cells, channels]`."""
    return rows_of(x).flatten(0, 1)


def _parts(rows: Tensor) -> Iterator[slice]:
    step = max(1, PIECE // rows.shape[1])
    for first in range(0, len(rows), step):
        yield slice(first, first + step)


class _FewInputs(Function):
    """A convolution of few inputs, without bias."""

    @staticmethod
    def forward(ctx, x, weight, stride, padding):
        """`[batch, channels, bands, frames]`."""
        patches = Patches(x, weight, stride, padding)
        z = patches.pooled((1, 1))
        for samples, bands, _ in patches.pieces(1):
            torch.mm(patches.columns(samples, bands).t(), patches.filters, out=_rows(z[samples, :, bands]))
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Of input and filters."""
        patches, grad = Patches(*ctx.saved_tensors, ctx.stride, ctx.padding), _channels_last(grad)
        for samples, bands, _ in patches.pieces(1):
            columns, dz = patches.columns(samples, bands), _rows(grad[samples, :, bands])
            patches.add_gradients(columns, dz, samples, bands, ctx.needs_input_grad[0])
        return *patches.gradients(), None, None


class _Sum(Function):
    """See `add_branches`; behind the shortcut four tensors a branch: its convolution's output, bias, scale, shift."""

    @staticmethod
    def forward(ctx, eps, shortcut, *tensors):
        """The sum, then mean and variance of every branch, then the number of cells."""
        inputs, gammas, betas = [_channels_last(z) for z in tensors[::4]], tensors[2::4], tensors[3::4]
        rows, means, inverses, found = [_rows(z) for z in inputs], [], [], []
        for one, small in zip(rows, eps, strict=True):
            moments = Moments()
            for part in _parts(one):
                moments.add(one[part])
            mean, var, count = moments.result(one.dtype)
            means.append(mean)
            inverses.append(torch.rsqrt(var + small))
            found += [mean, var]
        scales = [gamma * inverse for gamma, inverse in zip(gammas, inverses, strict=True)]
        shift = sum(beta - mean * scale for beta, mean, scale in zip(betas, means, scales, strict=True))
        y = torch.empty_like(inputs[0])
        out, beside = _rows(y), None if shortcut is None else _rows(_channels_last(shortcut))
        for part in _parts(out):
            sums = torch.addcmul(shift, rows[0][part], scales[0], out=out[part])
            for one, scale in zip(rows[1:], scales[1:], strict=True):
                sums.addcmul_(one[part], scale)
            if beside is not None:
                sums += beside[part]
            sums.relu_()
        ctx.save_for_backward(y, *inputs, *means, *inverses, *gammas)
        ctx.count, ctx.biases = count, [bias is not None for bias in tensors[1::4]]
        ctx.mark_non_differentiable(*found)
        return y, *found, count

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_):
        """Of the shortcut, and of every branch's output, bias, scale and shift."""
        y, *saved = ctx.saved_tensors
        n = len(ctx.biases)
        inputs, means, inverses, gammas = (saved[first : first + n] for first in range(0, 4 * n, n))
        grad, out, rows = _rows(_channels_last(grad)), _rows(y), [_rows(z) for z in inputs]
        shortcut = torch.empty_like(y) if ctx.needs_input_grad[1] else None
        beta, covariances = torch.zeros_like(means[0]), [torch.zeros_like(mean) for mean in means]
        for part in _parts(grad):
            passed = threshold_backward(grad[part], out[part], 0)
            if shortcut is not None:
                _rows(shortcut)[part] = passed
            beta += passed.sum(0)
            for one, mean, covariance in zip(rows, means, covariances, strict=True):
                covariance += (one[part] - mean).mul_(passed).sum(0)
        found, slopes, offsets, scales = [torch.empty_like(z) for z in inputs], [], [], []
        for mean, inverse, gamma, covariance in zip(means, inverses, gammas, covariances, strict=True):
            scales.append(gamma * inverse)
            slopes.append(-scales[-1] * inverse.square() * covariance / ctx.count)
            offsets.append(-scales[-1] * beta / ctx.count - slopes[-1] * mean)
        for part in _parts(grad):
            passed = threshold_backward(grad[part], out[part], 0)
            for one, dz, scale, slope, offset in zip(rows, found, scales, slopes, offsets, strict=True):
                torch.addcmul(offset, one[part], slope, out=_rows(dz)[part]).addcmul_(passed, scale)
        gradients: list[Tensor | None] = []
        for dz, has_bias, inverse, covariance in zip(found, ctx.biases, inverses, covariances, strict=True):
            gradients += [dz, torch.zeros_like(beta) if has_bias else None, covariance * inverse, beta.clone()]
        return None, shortcut, *gradients
