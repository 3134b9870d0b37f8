"""Attention on a CPU by matrix products of whole heads, in blocks of rows, where it is faster than PyTorch's kernel.

Weights of a block of queries are computed, normalised and used while they are in the cache, and once more in the
backward pass, so that no more memory is needed than by PyTorch's kernel, whose blocks are smaller. In bfloat16 the
weights are bfloat16, too; their normalisation is computed in float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.kernels.choices import TORCH, Candidates, choice, numbers
from models.kernels.products import takes_part, times_transposed, transposed_times

BLOCKS = "blocks"
BLOCK = 720_000  # weights of a block: with float32 they stay in the cache that cores share
SMALLEST = 128  # tokens: below them the calls cost more than the products
TIMED_TOKENS, TIMED_HEADS = 1024, 2
TYPES = (torch.float32, torch.bfloat16)


def attention(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """`softmax(q k^T / sqrt(width)) v`, as `torch.nn.functional.scaled_dot_product_attention` computes it.

    Args:
        q: `[batch, heads, queries, width]`.
        k: `[batch, heads, tokens, width]`.
        v: As `k`.
        dropout: Rate on the weights.

    Returns:
        `[batch, heads, queries, width]`.
    """
    if dropout or not _may_differ(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    training = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    tokens, kind = min(1 << (k.shape[2] - 1).bit_length(), TIMED_TOKENS), str(q.dtype).removeprefix("torch.")
    name = f"attention-{tokens}x{q.shape[3]}-{kind}-{'training' if training else 'inference'}"
    if choice(name, lambda: _candidates(tokens, q.shape[3], q.dtype, training)) == TORCH:
        return F.scaled_dot_product_attention(q, k, v)
    return _Attention.apply(q, k, v) if training else _forward(q, k, v)


def _may_differ(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return (
        takes_part(q) and q.dtype in TYPES and q.dtype == k.dtype == v.dtype and min(q.shape[2], k.shape[2]) >= SMALLEST
    )


def _blocks(queries: int, tokens: int) -> Iterator[slice]:
    """Of queries, of nearly equal length."""
    count = max(1, -(-queries * tokens // BLOCK))
    step = -(-queries // count)
    for first in range(0, queries, step):
        yield slice(first, min(first + step, queries))


def _weights(q: Tensor, k: Tensor) -> Tensor:
    """Of a block of scaled queries, `[queries, tokens]`."""
    return torch.softmax(times_transposed(q, k), -1)


@torch.no_grad()
def _forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Head by head; the result lies in memory as `[batch, queries, heads, width]`."""
    batch, heads, queries, width = q.shape
    out = q.new_empty(batch, queries, heads, width)
    into = out.transpose(1, 2)
    scaled, keys, values = q * width**-0.5, k.contiguous(), v.contiguous()
    for head in itertools.product(range(batch), range(heads)):
        own, query, key, value = into[head], scaled[head], keys[head], values[head].t()
        for rows in _blocks(queries, k.shape[2]):
            own[rows] = times_transposed(_weights(query[rows], key), value)
    return into


class _Attention(Function):
    """See `attention`."""

    @staticmethod
    def forward(ctx, q, k, v):
        """Queries, keys and values are kept."""
        ctx.save_for_backward(q, k, v)
        return _forward(q, k, v)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Of queries, keys and values; Dao et al., "FlashAttention", NeurIPS 2022, appendix B."""
        q, k, v = ctx.saved_tensors
        batch, heads, queries, width = q.shape
        scale = width**-0.5
        scaled, keys, values = q * scale, k.contiguous(), v.contiguous()
        found = q.new_empty(3, batch, max(queries, k.shape[2]), heads, width).transpose(2, 3)
        dq, dk, dv = found[0, :, :, :queries], found[1, :, :, : k.shape[2]], found[2, :, :, : k.shape[2]]
        for head in itertools.product(range(batch), range(heads)):
            query, key, value, slopes, own = scaled[head], keys[head], values[head], grad[head], dq[head]
            by_key = by_value = 0.0
            for rows in _blocks(queries, k.shape[2]):
                weights, slope = _weights(query[rows], key), slopes[rows]
                by_value = by_value + _transposed(weights, slope).float()
                by_weight = times_transposed(slope, value)
                by_score = torch._softmax_backward_data(by_weight, weights, -1, weights.dtype)
                own[rows] = _times(by_score, key).mul_(scale)
                by_key = by_key + _transposed(by_score, query[rows]).float()
            dk[head].copy_(by_key)
            dv[head].copy_(by_value)
        return dq, dk, dv


def _times(x: Tensor, y: Tensor) -> Tensor:
    """`x y`."""
    return times_transposed(x, y.t()) if x.dtype == torch.float32 else x @ y


def _transposed(x: Tensor, y: Tensor) -> Tensor:
    """`x^T y`."""
    return transposed_times(x, y) if x.dtype == torch.float32 else x.t() @ y


def _candidates(tokens: int, width: int, dtype: torch.dtype, training: bool) -> Candidates:
    leaves = [numbers(3, TIMED_HEADS, tokens, width, dtype=dtype)[i].unsqueeze(0) for i in range(3)]
    ways: dict[str, Callable[..., Tensor]] = {TORCH: F.scaled_dot_product_attention}
    ways[BLOCKS] = _Attention.apply if training else _forward
    if not training:
        return {name: lambda way=way: [way(*leaves)] for name, way in ways.items()}
    slope = numbers(1, TIMED_HEADS, tokens, width, dtype=dtype)
    leaves = [one.requires_grad_() for one in leaves]

    def gradients(way: Callable[..., Tensor]) -> Sequence[Tensor]:
        with torch.enable_grad():
            return torch.autograd.grad(way(*leaves), leaves, slope)

    return {name: lambda way=way: gradients(way) for name, way in ways.items()}
