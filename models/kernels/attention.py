"""Attention on a CPU by matrix products of whole heads, in blocks of rows, where it is faster than PyTorch's kernel.

Weights of a block of queries are computed, normalised and used while they are in the cache, and once more in the
backward pass, so that no more memory is needed than by PyTorch's kernel, whose blocks are smaller. In bfloat16 the
weights are bfloat16, too; their normalisation is computed in float32. With dropout PyTorch keeps all weights in memory;
here the backward pass draws the same ones again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.kernels.choices import GAIN, TORCH, Candidates, agrees, choice, numbers
from models.kernels.products import takes_part, times_transposed, transposed_times

BLOCKS = "blocks"
BLOCK = 720_000  # weights of a block: with float32 they stay in the cache that cores share
SMALLEST = 128  # tokens: below them the calls cost more than the products
TIMED_TOKENS, TIMED_HEADS = 1024, 2
LONG_GAIN = 0.5  # with dropout, where PyTorch would keep a matrix of tokens x tokens for every head
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
    if not (0 <= dropout < 1 and _may_differ(q, k, v)):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    training = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    tokens, kind = min(1 << (k.shape[2] - 1).bit_length(), TIMED_TOKENS), str(q.dtype).removeprefix("torch.")
    name = f"attention-{tokens}x{q.shape[3]}-{kind}-{'training' if training else 'inference'}"
    name += "-dropout" if dropout else ""
    gain = LONG_GAIN if dropout and tokens == TIMED_TOKENS else GAIN
    if choice(name, lambda: _candidates(tokens, q.shape[3], q.dtype, training, dropout), gain) == TORCH:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    seed = int(torch.randint(2**32, (), device="cpu")) if dropout else 0
    return _Attention.apply(q, k, v, dropout, seed) if training else _forward(q, k, v, dropout, seed)


def _may_differ(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return (
        takes_part(q)
        and q.dtype in TYPES
        and q.dtype == k.dtype == v.dtype
        and q.shape[:2] == k.shape[:2]
        and k.shape == v.shape
        and q.shape[3] == k.shape[3]
        and (q.dtype == torch.bfloat16 or not torch.is_autocast_enabled("cpu"))
        and min(q.shape[2], k.shape[2]) >= SMALLEST
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


class _Dropout:
    """Which weights are dropped, block by block; the same for the same seed.

    Four weights share 64 random bits, so that the rate is one of 65,536: PyTorch's draw of one number a weight takes
    longer than all else that is done to it.

    Args:
        rate: 0 to 1.
        seed: Of the draw.
    """

    def __init__(self, rate: float, seed: int) -> None:
        steps = min(round(rate * 2**16), 2**16 - 1)
        self.rate, self.below = steps / 2**16, steps - 2**15
        self.draw = torch.Generator().manual_seed(seed)

    def scaled(self, values: Tensor) -> Tensor:
        """Values, or their gradients, times what makes up for the weights that are dropped."""
        return (values / (1 - self.rate) if self.rate else values).contiguous()

    def next(self, weights: Tensor) -> Tensor | None:
        """Which of the next block are dropped, as booleans; None: none."""
        if not self.rate:
            return None
        bits = weights.new_empty(-(-weights.numel() // 4), dtype=torch.int64).random_(
            -(2**63), None, generator=self.draw
        )
        return (bits.view(torch.int16)[: weights.numel()] < self.below).view(weights.shape)


@torch.no_grad()
def _forward(q: Tensor, k: Tensor, v: Tensor, rate: float, seed: int) -> Tensor:
    """Head by head; the result lies in memory as `[batch, queries, heads, width]`."""
    batch, heads, queries, width = q.shape
    out, dropout = q.new_empty(batch, queries, heads, width), _Dropout(rate, seed)
    into = out.transpose(1, 2)
    scaled, keys, values = q * width**-0.5, k.contiguous(), dropout.scaled(v)
    for head in itertools.product(range(batch), range(heads)):
        own, query, key, value = into[head], scaled[head], keys[head], values[head].t()
        for rows in _blocks(queries, k.shape[2]):
            weights = _weights(query[rows], key)
            if (dropped := dropout.next(weights)) is not None:
                weights.masked_fill_(dropped, 0)
            own[rows] = times_transposed(weights, value)
    return into


class _Attention(Function):
    """See `attention`."""

    @staticmethod
    def forward(ctx, q, k, v, rate, seed):
        """Queries, keys and values are kept."""
        ctx.save_for_backward(q, k, v)
        ctx.dropout = rate, seed
        return _forward(q, k, v, rate, seed)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Of queries, keys and values; Dao et al., "FlashAttention", NeurIPS 2022, appendix B."""
        q, k, v = ctx.saved_tensors
        batch, heads, queries, width = q.shape
        scale, dropout = width**-0.5, _Dropout(*ctx.dropout)
        scaled, keys, values = q * scale, k.contiguous(), dropout.scaled(v)
        found = q.new_empty(3, batch, max(queries, k.shape[2]), heads, width).transpose(2, 3)
        dq, dk, dv = found[0, :, :, :queries], found[1, :, :, : k.shape[2]], found[2, :, :, : k.shape[2]]
        for head in itertools.product(range(batch), range(heads)):
            query, key, value, slopes, own = scaled[head], keys[head], values[head], grad[head], dq[head]
            by_key = by_value = 0.0
            for rows in _blocks(queries, k.shape[2]):
                weights, slope = _weights(query[rows], key), slopes[rows]
                by_weight, left = times_transposed(slope, value), weights
                if (dropped := dropout.next(weights)) is not None:
                    by_weight.masked_fill_(dropped, 0)
                    left = weights.masked_fill(dropped, 0)
                by_value = by_value + _transposed(left, slope).float()
                by_score = torch._softmax_backward_data(by_weight, weights, -1, weights.dtype)
                own[rows] = _times(by_score, key).mul_(scale)
                by_key = by_key + _transposed(by_score, query[rows]).float()
            dk[head].copy_(by_key)
            dv[head].copy_(dropout.scaled(by_value))
        return dq, dk, dv, None, None


def _times(x: Tensor, y: Tensor) -> Tensor:
    """`x y`."""
    return times_transposed(x, y.t()) if x.dtype == torch.float32 else x @ y


def _transposed(x: Tensor, y: Tensor) -> Tensor:
    """`x^T y`."""
    return transposed_times(x, y) if x.dtype == torch.float32 else x.t() @ y


def _candidates(tokens: int, width: int, dtype: torch.dtype, training: bool, dropout: float) -> Candidates:
    leaves = [numbers(3, TIMED_HEADS, tokens, width, dtype=dtype)[i].unsqueeze(0) for i in range(3)]
    slope = numbers(1, TIMED_HEADS, tokens, width, dtype=dtype)
    leaves = [one.requires_grad_(training) for one in leaves]

    def by_pytorch(rate: float) -> Sequence[Tensor]:
        return found(F.scaled_dot_product_attention(*leaves, dropout_p=rate))

    def in_blocks(rate: float) -> Sequence[Tensor]:
        return found(_Attention.apply(*leaves, rate, 0) if training else _forward(*leaves, rate, 0))

    def found(out: Tensor) -> Sequence[Tensor]:
        return torch.autograd.grad(out, leaves, slope) if training else [out]

    if not dropout:
        return {TORCH: lambda: by_pytorch(0.0), BLOCKS: lambda: in_blocks(0.0)}
    able = agrees(lambda: in_blocks(0.0), by_pytorch(0.0))  # what is random cannot be compared
    return {TORCH: lambda: by_pytorch(dropout)[:0]} | ({BLOCKS: lambda: in_blocks(dropout)[:0]} if able else {})
