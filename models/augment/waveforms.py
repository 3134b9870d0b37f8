"""Augmentations of a batch of audio `[batch, samples]`, float32, on whatever device it is. Each returns a new tensor.

Every example draws for itself whether it is changed, with probability `p`, and by how much. The steps and their order
are those of CLMR (Spijkervet and Burgoyne, "Contrastive learning of musical representations", ISMIR 2021, section 3.2).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from models.augment.draws import change, chosen, uniform
from models.transfer import send


def gain(x: Tensor, low: float = -20.0, high: float = -1.0, p: float = 0.3, step: float = 0.0) -> Tensor:
    """Multiply by a level drawn from `low` to `high` decibels, and clip to [-1, 1].

    Args:
        x: The batch.
        low: Decibels.
        high: Decibels.
        p: Share of the examples.
        step: Decibels from one possible level to the next, such as 1; 0: any level.
    """
    level = uniform(x, low, high, step)
    return change(x, chosen(x, p), amplify, level)


def amplify(x: Tensor, decibels: Tensor) -> Tensor:
    """Examples `[batch, samples]`, each at a level of its own, `[batch]`, clipped to [-1, 1]."""
    return (x * _column(10 ** (decibels / 20), x)).clamp_(-1, 1)


def polarity(x: Tensor, p: float = 0.5) -> Tensor:
    """Flip the sign."""
    return x * _column(1.0 - 2.0 * chosen(x, p), x)


def noise(x: Tensor, low: float = 1e-4, high: float = 1e-2, p: float = 0.5) -> Tensor:
    """Add Gaussian noise whose deviation is a share, drawn uniformly from `low` to `high`, of that of the example."""
    share = uniform(x, low, high)
    return change(x, chosen(x, p), add_noise, share)


def add_noise(x: Tensor, share: Tensor) -> Tensor:
    """Examples `[batch, samples]` and noise, its deviation a share `[batch]` of theirs."""
    return torch.addcmul(x, torch.randn_like(x), _column(share, x) * x.std(dim=-1, keepdim=True))


def delay(
    x: Tensor,
    sample_rate: int,
    low: int = 200,
    high: int = 450,
    step: int = 50,
    factor: float = 0.5,
    p: float = 0.3,
) -> Tensor:
    """Add an echo, and halve: `(x + factor * delayed x) / 2`.

    Args:
        x: The batch.
        sample_rate: Hz.
        low: The shortest delay, milliseconds.
        high: The longest.
        step: Milliseconds from one possible delay to the next; 0: any delay.
        factor: Level of the echo.
        p: Share of the examples.
    """
    milliseconds = uniform(x, low, high, step)
    return change(
        x, chosen(x, p), lambda x, late: echo(x, (late.double() * sample_rate / 1000).long(), factor), milliseconds
    )


def echo(x: Tensor, samples: Tensor, factor: float) -> Tensor:
    """Half the sum of examples `[batch, samples]` and of themselves some samples later, `[batch]`, at another level."""
    longest, rows = int(samples.max()), torch.arange(len(x), device=x.device)
    padded = F.pad(x, (longest, 0), value=0.0)
    late = padded.unfold(1, x.shape[1], 1)[rows, send(longest - samples, x.device)]
    return late.mul_(factor).add_(x).mul_(0.5)


def _column(values: Tensor, x: Tensor) -> Tensor:
    return send(values.to(x.dtype), x.device)[:, None]
