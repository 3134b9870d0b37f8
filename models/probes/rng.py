"""What is random about a probe, as functions of the seed and the step: no generator is carried along.

A draw depends neither on the device, nor on how many probes are trained together, nor on what was drawn before, so that
probes trained side by side, one by one, or in a sweep that was interrupted see the same batches and the same dropout.
All probes of a seed share them, which makes their comparison sharper (common random numbers).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor

WEIGHTS, BATCHES, DROPOUT = range(3)
RESOLUTION = 1 << 16  # of a dropout rate


def generator(seed: int) -> Generator:
    """A generator on the CPU for the initial weights."""
    word = int(np.random.SeedSequence((seed, WEIGHTS)).generate_state(1, np.uint64)[0])
    return Generator().manual_seed(word >> 1)


def initial_weights(sizes: Sequence[int], generator: Generator, blocks: int = 1) -> dict[str, Tensor]:
    """PyTorch's default for linear layers: uniform within ±1/sqrt(inputs), weights then biases, layer by layer.

    A learned sum of blocks begins as their mean.
    """
    weights = {"blocks": torch.zeros(blocks)} if blocks > 1 else {}
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        bound = n_in**-0.5
        weights[f"{layer}.weight"] = torch.empty(n_out, n_in).uniform_(-bound, bound, generator=generator)
        weights[f"{layer}.bias"] = torch.empty(n_out).uniform_(-bound, bound, generator=generator)
    return weights


def batch(seed: int, step: int, items: int, size: int) -> np.ndarray:
    """The items of one step, drawn afresh without replacement: int64 `[min(size, items)]`."""
    rng = np.random.Generator(np.random.SFC64((seed, BATCHES, step)))
    return rng.choice(items, min(size, items), replace=False, shuffle=False)


def dropout_noise(seed: int, step: int, layer: int, items: int, values: int) -> Tensor:
    """Uniform whole numbers in `0 .. RESOLUTION - 1`, float32 `[items, values]`.

    Dropout of rate p keeps a value where its noise is at least `p * RESOLUTION`, so that the masks of different rates
    are nested.

    Args:
        seed: Of the probe.
        step: Of its training.
        layer: 0 for the input, 1 for the hidden layer.
        items: Of the batch.
        values: Width of the layer.
    """
    noise = np.random.Generator(np.random.SFC64((seed, DROPOUT, step, layer))).bytes(2 * items * values)
    return torch.from_numpy(np.frombuffer(noise, "<u2").astype(np.float32)).view(items, values)


def dropout(x: Tensor, noise: Tensor, p: float) -> Tensor:
    """Dropout of rate `p`: zeros where the noise is low, the rest scaled so that the mean stays.

    The kernel is that of the derivative of a threshold: one pass, ten times as fast on a CPU as a fill by a mask.
    """
    return torch.ops.aten.threshold_backward(x, noise, round(p * RESOLUTION) - 0.5).mul_(1 / (1 - p))
