"""How far a score would move on other tracks of the same kind: bootstrap intervals."""

from __future__ import annotations

import numpy as np

from experiments.errors import UserError
from experiments.tasks.base import Task

LEVEL = 0.95
CHUNK = 2_000_000  # weights held at once, resamples times items


def resampled(task: Task, predictions: np.ndarray, references: np.ndarray, n: int, seed: int) -> dict[str, np.ndarray]:
    """Score `n` resamples of the items, drawn with replacement.

    The draws depend on the seed and the number of items alone: two systems that answered the same items see the same
    resamples.

    Returns:
        Metric name -> `[n]`; NaN for a resample in which nothing can be scored.
    """
    items = len(references)
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, n, max(1, CHUNK // items)):
        size = min(n - start, max(1, CHUNK // items))
        weights = rng.multinomial(items, np.full(items, 1 / items), size=size)
        parts.append(_scores(task, predictions, references, weights))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _scores(task: Task, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    if hasattr(task, "score_resampled"):
        return task.score_resampled(predictions, references, weights)
    rows = []
    for row in weights:
        drawn = np.repeat(np.arange(len(references)), row)
        rows.append(task.score(predictions[drawn], references[drawn]))
    return {name: np.array([row[name] for row in rows]) for name in rows[0] if not name.startswith("n_")}


def interval(
    task: Task, predictions: np.ndarray, references: np.ndarray, n: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The central 95 % of every metric over resamples of the items.

    Args:
        task: Scores.
        predictions: As the task decodes them, `[items, ...]`.
        references: Stacked targets, `[items, ...]`.
        n: Resamples.
        seed: Of the draws.

    Returns:
        Metric name -> (low, high); the counts of `score` have none.

    Raises:
        UserError: Nothing can be scored in any resample.
    """
    scores = resampled(task, predictions, references, n, seed)
    return {name: _central(name, values) for name, values in scores.items()}


def difference(
    task: Task, ours: np.ndarray, theirs: np.ndarray, references: np.ndarray, n: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The central 95 % of `ours - theirs` for two systems that answered the same items, resampled in pairs.

    An interval above 0 says that ours is better on tracks of this kind. Arguments and result as in `interval`.
    """
    one, other = (resampled(task, predictions, references, n, seed) for predictions in (ours, theirs))
    return {name: _central(name, one[name] - other[name]) for name in one}


def _central(name: str, values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        raise UserError(f"{name} can be computed on none of {len(values)} resamples: there are too few items")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
