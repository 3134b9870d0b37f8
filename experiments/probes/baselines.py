"""What must be beaten: answers that need no learned representation."""

from __future__ import annotations

import numpy as np

from experiments.probes.vectors import Reduction
from experiments.tasks.base import Task


def mean_and_deviation(mel: np.ndarray) -> np.ndarray:
    """Mean and population deviation over time of every band: `[frames, bands]` to float32 `[2 * bands]`.

    Computed in double, since stored frames are float16.
    """
    return np.concatenate([mel.mean(axis=0, dtype=np.float64), mel.std(axis=0, dtype=np.float64)]).astype(np.float32)


MEL_STATISTICS = Reduction("mean and deviation over time", "mel", mean_and_deviation)


def constant(task: Task, targets: np.ndarray, n_items: int) -> np.ndarray:
    """Answer every item alike: with the frequencies of the classes in training, which are chance for tags and the
    majority class, with the mean of several values (R² 0), with the median of a single one (tempo).

    Args:
        task: Whose answer it is.
        targets: Stacked training targets: multi-hot, probabilities or values `[tracks, n_outputs]`, class numbers or
            single values `[tracks]`.
        n_items: Items to answer.

    Returns:
        Predictions, float32 `[n_items, n_outputs]`.
    """
    if np.issubdtype(targets.dtype, np.integer):
        targets = np.eye(task.n_outputs)[targets]
    if targets.ndim == 1:
        return np.full((n_items, 1), np.median(targets), dtype=np.float32)
    return np.tile(targets.mean(axis=0, dtype=np.float64).astype(np.float32), (n_items, 1))
