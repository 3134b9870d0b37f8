"""What must be beaten: answers that need no learned representation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.errors import UserError
from experiments.probes.vectors import Reduction, gather
from experiments.tasks.base import Task

if TYPE_CHECKING:
    from datasets.store import Reader


def mean_and_deviation(mel: np.ndarray) -> np.ndarray:
    """Mean and population deviation over time of every band: `[frames, bands]` to float32 `[2 * bands]`.

    Computed in double, since stored frames are float16.
    """
    return np.concatenate([mel.mean(axis=0, dtype=np.float64), mel.std(axis=0, dtype=np.float64)]).astype(np.float32)


MEL_STATISTICS = Reduction("mean and deviation over time", "mel", mean_and_deviation)


def mel_statistics(store: Reader, ids: Sequence[str]) -> np.ndarray:
    """Average spectrum of tracks and its spread: the timbre of a recording without anything that happens in it.

    Args:
        store: A mel store.
        ids: Tracks, all of them in the store.

    Returns:
        float32 `[tracks, 2 * bands]`, means first.

    Raises:
        UserError: A track is missing, or the store holds something else.
    """
    x, _, missing = gather(store, ids, MEL_STATISTICS)
    if missing:
        raise UserError(f"{len(missing)} of {len(ids)} tracks are not in the mel store, the first is {missing[0]!r}")
    return x


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
