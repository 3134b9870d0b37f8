"""The transformer block of a Vision Transformer: pre-norm attention and MLP.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, equations 2 and 3; parameter names as in timm.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from models.kernels.attention import attention
from models.kernels.products import Linear, linear

INIT_STD = 0.02


def init_weights(module: nn.Module) -> None:
    """Truncated normal of deviation 0.02, cut at +-2, for linear weights; biases 0; layer norms 1 and 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INIT_STD)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def _add(x: torch.Tensor, update: torch.Tensor) -> torch.Tensor:
    """`x + update`; without gradients it is written over `update`, which nobody else holds."""
    return x + update if torch.is_grad_enabled() else update.add_(x)


class Attention(nn.Module):
    """Multi-head self-attention; the rows of `qkv` are ordered q, k, v and inside each by head."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0, attention_dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, queries: int | None = None) -> torch.Tensor:
        """`[B, N, dim]` -> `[B, N, dim]`, or `[B, queries, dim]` for the first tokens alone."""
        q, k, v = self._project(x, queries)
        rate = self.attention_dropout if self.training else 0.0
        x = attention(q, k, v, rate)
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2)))

    def _project(self, x: torch.Tensor, queries: int | None) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values `[B, heads, N, dim / heads]` each."""
        batch, _, dim = x.shape
        heads = (self.heads, dim // self.heads)
        if queries is None:
            return self.qkv(x).view(batch, -1, 3, *heads).permute(2, 0, 3, 1, 4).unbind(0)
        q = linear(x[:, :queries], self.qkv.weight[:dim], self.qkv.bias[:dim])
        pair = linear(x, self.qkv.weight[dim:], self.qkv.bias[dim:])
        k, v = pair.view(batch, -1, 2, *heads).permute(2, 0, 3, 1, 4).unbind(0)
        return q.view(batch, queries, *heads).transpose(1, 2), k, v


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, N, dim]` -> `[B, N, dim]`."""
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class DropPath(nn.Module):
    """Stochastic depth: in training drops the whole branch of a sample (Huang et al., ECCV 2016).

    The rate is read from a tensor, so that blocks that differ by it share one compiled graph.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate, self.drops = rate, rate > 0.0
        self.register_buffer("kept", torch.tensor(1.0 - rate), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, N, dim]`, scaled so that its expectation stays as it was."""
        if not self.training or not self.drops:
            return x
        keep = torch.rand(len(x), 1, 1, device=x.device) < self.kept
        return x * (keep / self.kept).to(x.dtype)


class Block(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`."""

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, heads, dropout, attention_dropout)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio), dropout)
        self.drop_path = DropPath(stochastic_depth)

    def forward(self, x: torch.Tensor, queries: int | None = None) -> torch.Tensor:
        """One block.

        Args:
            x: `[B, N, dim]`; left as it is.
            queries: Compute the first so many tokens only. They attend to all tokens, so their values are the same;
                the last block of a network whose output is read at its first tokens costs a sixth in this way.

        Returns:
            `[B, N, dim]`, or `[B, queries, dim]`.
        """
        update = self.drop_path(self.attn(self.norm1(x), queries))
        x = _add(x if queries is None else x[:, :queries], update)
        return _add(x, self.drop_path(self.mlp(self.norm2(x))))
