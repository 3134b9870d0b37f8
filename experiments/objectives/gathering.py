"""Values of all processes, with gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from experiments import distributed


class _Gathered(torch.autograd.Function):
    """The gradient of a process's values is the sum of those that all processes have by them."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        """`[n, dim]` of every process, stacked in their order."""
        parts = [torch.empty_like(own) for _ in range(distributed.world_size())]
        torch.distributed.all_gather(parts, own.contiguous())
        return torch.stack(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """By its own, of all processes."""
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(gradient)
        return gradient[distributed.rank()]


def elsewhere(own: Tensor) -> Tensor | None:
    """The values of all other processes, one behind the other; None where there are none.

    Gradients of what others compute with them come back, so that N processes learn what one does of the joined batch.

    Args:
        own: Of this process, `[n, dim]`, of the same shape on every process.
    """
    if distributed.world_size() == 1:
        return None
    parts = _Gathered.apply(own)
    return torch.cat([part for rank, part in enumerate(parts) if rank != distributed.rank()])
