"""Batch norms that are added to each other and to a shortcut, and ReLU: one tensor instead of four.

For training on a CPU, where `models.fused_norms.suits` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from models.fused_norms import PIECE, Moments, Norm, track


def add_norms(
    convolved: Sequence[tuple[Tensor, Norm, Tensor | None]], shortcut: Tensor | None = None, relu: bool = True
) -> Tensor:
    """The sum of batch norms, whose running statistics are updated, and of a shortcut; then ReLU.

    Args:
        convolved: Outputs of convolutions without their bias, `[batch, channels, ...]`; the batch norm of each; the
            bias that was left out.
        shortcut: Of the same shape.
        relu: Whether ReLU follows.
    """
    tensors = [part for z, norm, bias in convolved for part in (z, bias, norm.weight, norm.bias)]
    y, *moments, count = _Sum.apply(relu, [norm.eps for _, norm, _ in convolved], shortcut, *tensors)
    for (_, norm, bias), mean, var in zip(convolved, moments[::2], moments[1::2], strict=True):
        track(norm, mean, var, count, bias)
    return y


def _last(x: Tensor) -> Tensor:
    """With channels innermost in memory."""
    if x.ndim == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return x.transpose(1, -1).contiguous().transpose(1, -1)


def _rows(x: Tensor) -> Tensor:
    """`[batch, channels, ...]` with channels innermost as a view `[cells, channels]`."""
    return x.movedim(1, -1).flatten(0, -2)


def _pieces(rows: Tensor) -> Iterator[slice]:
    step = max(1, PIECE // rows.shape[1])
    for first in range(0, len(rows), step):
        yield slice(first, first + step)


class _Sum(Function):
    """See `add_norms`; behind the shortcut four tensors a norm: input, bias, scale, shift."""

    @staticmethod
    def forward(ctx, relu, eps, shortcut, *tensors):
        """The sum, then mean and variance of every norm, then the number of cells."""
        inputs, gammas, betas = [_last(z) for z in tensors[::4]], tensors[2::4], tensors[3::4]
        shortcut = None if shortcut is None else _last(shortcut)
        rows, means, inverses, found = [_rows(z) for z in inputs], [], [], []
        for one, small in zip(rows, eps, strict=True):
            moments = Moments()
            for part in _pieces(one):
                moments.add(one[part])
            mean, var, count = moments.result(one.dtype)
            means.append(mean)
            inverses.append(torch.rsqrt(var + small))
            found += [mean, var]
        scales = [gamma * inverse for gamma, inverse in zip(gammas, inverses, strict=True)]
        shift = sum(beta - mean * scale for beta, mean, scale in zip(betas, means, scales, strict=True))
        y = torch.empty_like(inputs[0])
        out, beside = _rows(y), None if shortcut is None else _rows(shortcut)
        for part in _pieces(out):
            sums = torch.addcmul(shift, rows[0][part], scales[0], out=out[part])
            for one, scale in zip(rows[1:], scales[1:], strict=True):
                sums.addcmul_(one[part], scale)
            if beside is not None:
                sums += beside[part]
            if relu:
                sums.relu_()
        ctx.save_for_backward(y, *inputs, *means, *inverses, *gammas)
        ctx.relu, ctx.count, ctx.biases = relu, count, [bias is not None for bias in tensors[1::4]]
        ctx.mark_non_differentiable(*found)
        return y, *found, count

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_):
        """Of the shortcut, and of every norm's input, bias, scale and shift."""
        y, *saved = ctx.saved_tensors
        n = len(ctx.biases)
        inputs, means, inverses, gammas = (saved[first : first + n] for first in range(0, 4 * n, n))
        grad, behind = _rows(_last(grad)), _rows(y)
        if ctx.relu:
            apart = torch.empty_like(y) if ctx.needs_input_grad[2] else None
        rows = [_rows(z) for z in inputs]

        def of(part: slice) -> Tensor:
            return grad[part] * (behind[part] > 0) if ctx.relu else grad[part]

        beta, sums = torch.zeros_like(means[0]), [torch.zeros_like(mean) for mean in means]
        for part in _pieces(grad):
            g = of(part)
            if ctx.relu and apart is not None:
                _rows(apart)[part] = g
            beta += g.sum(0)
            for one, mean, total in zip(rows, means, sums, strict=True):
                total += (one[part] - mean).mul_(g).sum(0)
        slopes, offsets, scales, found = [], [], [], [torch.empty_like(z) for z in inputs]
        for mean, inverse, gamma, total in zip(means, inverses, gammas, sums, strict=True):
            scales.append(gamma * inverse)
            slopes.append(-scales[-1] * inverse.square() * total / ctx.count)
            offsets.append(-scales[-1] * beta / ctx.count - slopes[-1] * mean)
        for part in _pieces(grad):
            g = of(part)
            for one, dz, scale, slope, offset in zip(rows, found, scales, slopes, offsets, strict=True):
                torch.addcmul(offset, one[part], slope, out=_rows(dz)[part]).addcmul_(g, scale)
        gradients: list[Tensor | None] = []
        for dz, has_bias, inverse, total in zip(found, ctx.biases, inverses, sums, strict=True):
            gradients += [dz, torch.zeros_like(beta) if has_bias else None, total * inverse, beta]
        shortcut = None
        if ctx.needs_input_grad[2]:
            shortcut = apart if ctx.relu else grad.view(y.movedim(1, -1).shape).movedim(-1, 1)
        return None, None, shortcut, *gradients
