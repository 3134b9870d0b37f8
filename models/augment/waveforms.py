"""Augmentations of a batch of audio `[batch, samples]`, float32, on whatever device it is. Each returns a new tensor.

Every example draws for itself whether it is changed, with probability `p`, and by how much.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gain(x: Tensor, low: float = -20.0, high: float = -1.0, p: float = 0.3) -> Tensor:
    """Multiply by a level drawn uniformly from `low` to `high` decibels, and clip to [-1, 1]."""
    level = _uniform(x, low, high)
    return torch.where(_chosen(x, p), (x * 10 ** (level / 20)).clamp(-1, 1), x)


def polarity(x: Tensor, p: float = 0.5) -> Tensor:
    """Flip the sign."""
    return torch.where(_chosen(x, p), -x, x)


def noise(x: Tensor, low: float = 1e-4, high: float = 1e-2, p: float = 0.5) -> Tensor:
    """Add Gaussian noise whose deviation is a share, drawn uniformly from `low` to `high`, of that of the example."""
    deviation = _uniform(x, low, high) * x.std(dim=-1, keepdim=True)
    return torch.where(_chosen(x, p), x + deviation * torch.randn_like(x), x)


def _chosen(x: Tensor, p: float) -> Tensor:
    return torch.rand(len(x), 1, device=x.device) < p


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(len(x), 1, device=x.device)
