"""NT-Xent: each view has to find the other view of its example among all others (Chen et al., "A simple framework for
contrastive learning of visual representations", ICML 2020, section 2.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.frontends.base import full_precision

TEMPERATURE = 0.5


def nt_xent(first: Tensor, second: Tensor, temperature: float = TEMPERATURE, others: Tensor | None = None) -> Tensor:
    """The normalised temperature-scaled cross-entropy of a batch.

    One product of matrices gives all cosines, so that memory grows with the square of the batch only by them.

    Args:
        first: Projections of one view of every example, `[batch, dim]`.
        second: Of the other view, `[batch, dim]`.
        temperature: Cosines are divided by it.
        others: Both views of further examples, `[further, dim]`, against which these count too.

    Returns:
        A scalar, computed in float32 also where the training is in mixed precision: the mean over both views. 0 where
        there is one example and no other.
    """
    with full_precision(first.device):
        own = F.normalize(torch.cat([first, second]).float(), dim=-1)
        known = own if others is None else torch.cat([own, F.normalize(others.float(), dim=-1)])
        return _Search.apply(own / temperature, known)


class _Search(torch.autograd.Function):
    """Cross-entropy of finding row i + batch, or i - batch, in the product of both matrices without its diagonal.

    The gradient by the product is its softmax, less 1 at what was to be found. It is computed in place with the loss,
    so that a single matrix of that size exists; automatic differentiation would hold three at once and take longer.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, known: Tensor) -> Tensor:
        """Of `[2 * batch, dim]`, divided by the temperature, and `[2 * batch + further, dim]`: the mean over rows."""
        matrix = (own @ known.t()).fill_diagonal_(-torch.inf)
        rows = torch.arange(len(own), device=own.device)
        partners = rows.roll(len(own) // 2)
        wanted = matrix[rows, partners]
        top = matrix.amax(1, keepdim=True)
        total = matrix.sub_(top).exp_().sum(1, keepdim=True)
        matrix.div_(total)[rows, partners] -= 1
        ctx.save_for_backward(own, known, matrix)
        return (total.log() + top)[:, 0].sub(wanted).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """By both matrices."""
        own, known, matrix = ctx.saved_tensors
        scale = gradient / len(own)
        with full_precision(own.device):
            return (matrix @ known) * scale, (matrix.t() @ own) * scale
