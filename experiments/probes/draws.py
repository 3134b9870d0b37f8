"""What is random about a probe, as functions of the seed and the step: no generator is carried along.

A draw depends neither on the device, nor on how many probes are trained together, nor on what was drawn before, so that
probes trained side by side, one by one, or in a sweep that was interrupted see the same batches and the same masks. All
probes of a seed share them, which makes their comparison sharper (common random numbers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WEIGHTS, BATCHES, MASKS = range(3)
LEVELS = 1 << 16  # resolution of a dropout rate


def generator(seed: int) -> torch.Generator:
    """A generator on the CPU for the initial weights."""
    import torch

    word = int(np.random.SeedSequence((seed, WEIGHTS)).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(word >> 1)


def batch(seed: int, step: int, items: int, size: int) -> np.ndarray:
    """The items of one step, drawn afresh without replacement: int64 `[min(size, items)]`."""
    draw = np.random.Generator(np.random.SFC64((seed, BATCHES, step)))
    return draw.choice(items, min(size, items), replace=False, shuffle=False)


def levels(seed: int, step: int, layer: int, items: int, values: int) -> Tensor:
    """Uniform whole numbers in `0 .. LEVELS - 1`, float32 `[items, values]`.

    Dropout of rate p keeps a value where its level is at least `p * LEVELS`, so that the masks of different rates are
    nested.

    Args:
        seed: Of the probe.
        step: Of its training.
        layer: 0 for the input, 1 for the hidden layer.
        items: Of the batch.
        values: Width of the layer.
    """
    import torch

    drawn = np.random.Generator(np.random.SFC64((seed, MASKS, step, layer))).bytes(2 * items * values)
    return torch.from_numpy(np.frombuffer(drawn, "<u2").astype(np.float32)).view(items, values)


def dropped(x: Tensor, levels: Tensor, p: float) -> Tensor:
    """Dropout of rate `p`: zeros where the level is low, the rest scaled so that the mean stays.

    The kernel is that of the derivative of a threshold: one pass, ten times as fast on a CPU as a fill by a mask.
    """
    import torch

    return torch.ops.aten.threshold_backward(x, levels, round(p * LEVELS) - 0.5).mul_(1 / (1 - p))
