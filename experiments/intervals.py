"""A task's metrics on resamples of the items: what bootstrap intervals are made of (`datasets.intervals`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from datasets.intervals import central
from experiments.tasks.base import Task

CHUNK = 6_000_000  # weights held at once, resamples times items


def resampled(task: Task, predictions: np.ndarray, references: np.ndarray, n: int, seed: int) -> dict[str, np.ndarray]:
    """Score `n` resamples of the items, drawn with replacement.

    The draws depend on the seed and the number of items alone: two systems with predictions for the same items see the
    same resamples.

    Returns:
        Metric name -> `[n]`; NaN for a resample in which nothing can be scored.
    """
    return resampled_together(task, [predictions], references, n, seed)[0]


def resampled_together(
    task: Task, systems: Sequence[np.ndarray], references: np.ndarray, n: int, seed: int, only: str | None = None
) -> list[dict[str, np.ndarray]]:
    """`resampled` of several systems on the same items, each resample drawn once.

    With `only`, metrics besides that one may be left out, which can be faster.
    """
    parts: list[list[dict[str, np.ndarray]]] = [[] for _ in systems]
    for weights in drawn(len(references), n, seed):
        for part, predictions in zip(parts, systems, strict=True):
            part.append(weighted(task, predictions, references, weights, only))
    return [{name: np.concatenate([one[name] for one in part]) for name in part[0]} for part in parts]


def drawn(items: int, n: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `n` resamples holds each item, `[resamples, items]`, some resamples at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, n, max(1, CHUNK // items)):
        size = min(n - start, max(1, CHUNK // items))
        yield np.asfortranarray(rng.multinomial(items, np.full(items, 1 / items), size=size), dtype=np.float32)


def weighted(
    task: Task, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray, only: str | None = None
) -> dict[str, np.ndarray]:
    """The metrics under weightings of the items by whole numbers, `[resamples, items]`: name -> `[resamples]`.

    With `only`, metrics besides that one may be left out.
    """
    if only == task.primary and (primary := task.primary_resampled(predictions, references, weights)) is not None:
        return {only: primary}
    if (scores := task.score_resampled(predictions, references, weights)) is not None:
        return scores
    rows = []
    for row in weights.astype(np.int64):
        items = np.repeat(np.arange(len(references)), row)
        rows.append(task.score(predictions[items], references[items]))
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
        Metric name -> (low, high), as `central` has them; the counts of `score` have none.

    Raises:
        IntervalError: Nothing can be scored in any resample.
    """
    scores = resampled(task, predictions, references, n, seed)
    return {name: central(name, values, len(references)) for name, values in scores.items()}


def interval_per_class(
    task: Task, predictions: np.ndarray, references: np.ndarray, n: int = 1000, seed: int = 0
) -> dict[str, dict[str, tuple[float, float]]]:
    """The central 95 % of the metrics of every class over resamples of the items; arguments as in `interval`.

    Returns:
        Class -> metric -> (low, high), where the task can score classes on resamples; without what none can score.
    """
    parts = [
        task.score_per_class_resampled(predictions, references, weights) for weights in drawn(len(references), n, seed)
    ]
    result: dict[str, dict[str, tuple[float, float]]] = {}
    for name, metric in parts[0]:
        values = np.concatenate([part[name, metric] for part in parts])
        if np.isfinite(values).any():
            result.setdefault(name, {})[metric] = central(metric, values, len(references))
    return result
