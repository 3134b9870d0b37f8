"""What steps on waveforms draw: which examples they change, and by how much.

Draws are made in the processor's memory, so that a GPU is not waited for to know how many examples there are to change.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from models.transfer import send


def uniform(x: Tensor, low: float, high: float, step: float = 0.0) -> Tensor:
    """A number for each example of a batch, from `low` to `high`.

    Args:
        x: The batch.
        low: The least.
        high: The largest.
        step: Between one possible number and the next, the first of them `low`; 0: any number.

    Returns:
        `[batch]`, in the processor's memory.

    Raises:
        ValueError: A step below 0.
    """
    if step < 0:
        raise ValueError(f"step={step}: expected a number above 0, or 0 for any value between {low} and {high}")
    drawn = torch.rand(len(x))
    if not step:
        return low + (high - low) * drawn
    count = math.floor((high - low) / step + 1e-9) + 1
    return low + step * (drawn * count).floor().clamp(max=count - 1)


def chosen(x: Tensor, p: float) -> Tensor:
    """Which examples of a batch are changed, each with probability `p`: booleans `[batch]`."""
    return torch.rand(len(x)) < p


def change(x: Tensor, where: Tensor, function: Callable[..., Tensor], *drawn: Tensor) -> Tensor:
    """Change some examples of a batch, and compute these alone.

    Args:
        x: `[batch, samples]`.
        where: Which, `[batch]`.
        function: Of the examples to change, and of what was drawn for them.
        drawn: `[batch]` each, of all examples.

    Returns:
        A new tensor.
    """
    rows = torch.nonzero(where)[:, 0]
    if not len(rows):
        return x.clone()
    places = send(rows, x.device)
    changed = function(x[places], *(values[rows] for values in drawn))
    return changed if len(rows) == len(x) else x.index_copy(0, places, changed)
