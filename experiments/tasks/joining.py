"""How the predictions of a track's windows become the prediction of the track."""

from __future__ import annotations

import numpy as np


def mean(predictions: np.ndarray) -> np.ndarray:
    """Mean over windows, `[windows, ...]` to float64 `[...]`; added window after window, whatever the shape."""
    return np.add.accumulate(predictions, axis=0, dtype=np.float64)[-1] / len(predictions)


def maximum(predictions: np.ndarray) -> np.ndarray:
    """Largest value over windows, `[windows, ...]` to float64 `[...]`."""
    return predictions.max(axis=0).astype(np.float64)


def vote(predictions: np.ndarray) -> np.ndarray:
    """Share of the windows in which each class is the most probable, `[windows, classes]` to float64 `[classes]`."""
    winners = np.bincount(predictions.argmax(axis=1), minlength=predictions.shape[1])
    return winners / len(predictions)


# Name -> function, and the kinds of tasks that it makes sense for.
JOINS = {
    "mean": (mean, ("class", "tags", "values")),
    "max": (maximum, ("class", "tags")),
    "vote": (vote, ("class",)),
}
