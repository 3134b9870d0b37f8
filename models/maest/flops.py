"""What a pass through MAEST costs, by arithmetic.

Multiply-accumulates of the matrix products (patches, linear layers, attention, head); norms and activations are
left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.maest.grid import PATCH

_READ = 2  # CLS and DIST


@dataclass(frozen=True)
class Cost:
    """Cost of one window.

    Attributes:
        tokens: Length of the sequence.
        macs: Multiply-accumulates of the forward pass.
    """

    tokens: int
    macs: int

    @property
    def flops(self) -> int:
        """Floating-point operations of the forward pass, two per multiply-accumulate."""
        return 2 * self.macs

    @property
    def training_flops(self) -> int:
        """Forward and backward pass: the gradients by weights and by inputs cost one forward pass each."""
        return 3 * self.flops


def cost(
    network: Any,
    frames: int | None = None,
    training: bool = False,
    blocks: int | None = None,
    whole: bool = False,
) -> Cost:
    """Cost of one window.

    Args:
        network: A MAEST; gives the shapes and the patchout.
        frames: Length of the window; None for the network's own.
        training: Whether patchout of training applies.
        blocks: Stop after so many blocks (an early exit for embeddings); None runs to the logits.
        whole: Count the last block for all tokens, as it is if its tokens are read; without it, and as `forward` runs,
            the last block computes CLS and DIST alone.
    """
    tokens = network.count_tokens(frames, training)
    dim = network.dim
    hidden = int(dim * network.hyperparameters["mlp_ratio"])
    patches = (tokens - _READ) * PATCH * PATCH * dim
    one = _block(tokens, tokens, dim, hidden)
    if blocks is not None:
        return Cost(tokens, patches + blocks * one)
    last = one if whole else _block(tokens, _READ, dim, hidden)
    head = dim * network.n_classes * (2 if network.distilled_type == "separated" else 1)
    return Cost(tokens, patches + (network.depth - 1) * one + last + head)


def _block(tokens: int, queries: int, dim: int, hidden: int) -> int:
    keys_values = 2 * tokens * dim * dim
    rest = queries * (2 * dim * dim + 2 * dim * hidden)
    return keys_values + rest + 2 * tokens * queries * dim
