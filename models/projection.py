"""The projection head of contrastive learning: what the loss sees of an embedding."""

from __future__ import annotations

from torch import Tensor, nn


class Projection(nn.Module):
    """Two linear layers without biases, and ReLU between them (SimCLR, ICML 2020, section 2.1, as CLMR has it).

    Args:
        dim: Values of an embedding.
        hidden: Of the hidden layer; None: as many.
        size: Of a projection.
    """

    def __init__(self, dim: int, hidden: int | None = None, size: int = 64) -> None:
        super().__init__()
        hidden = hidden or dim
        self.layers = nn.Sequential(nn.Linear(dim, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, size, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, dim]` to `[batch, size]`."""
        return self.layers(x)
