"""Metrics of many columns, many systems or many resamples at once: ROC-AUC, average precision, F1 and R².

Reported scores come from scikit-learn. These forms give the same numbers where it would have to be called thousands of
times: every few steps for early stopping, and a thousand times for a bootstrap interval.

R² is 1 - sum (y - prediction)² / sum (y - mean of y)², as scikit-learn has it: where all references of an output are
equal, 1 for exact predictions and 0 for others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Resampled = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # scores, positives, weights -> [resamples]


def roc_auc(scores: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every column, from average ranks (Mann and Whitney's U).

    Args:
        scores: `[items, columns]`.
        positives: Booleans `[items, columns]`, both values present in every column.

    Returns:
        float64 `[columns]`.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)
    n_positive = positives.sum(axis=0)
    n_negative = len(positives) - n_positive
    return ((ranks * positives).sum(axis=0) - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def roc_auc_of_many(scores: Tensor, positives: Tensor) -> Tensor:
    """Area under the ROC curve of every column of many systems at once, on their device.

    Score and label are packed into one integer, so that one plain sort of it orders the items and tells the ties.

    Args:
        scores: float32 `[systems, items, columns]` in 0..1.
        positives: Booleans `[items, columns]`, both values present in every column.

    Returns:
        float64 `[systems, columns]`; equal to `roc_auc`, ties included.
    """
    import torch

    keys = scores.abs().contiguous().view(torch.int32).mul_(2).add_(positives.int()).transpose(1, 2).contiguous()
    keys = torch.from_numpy(np.sort(keys.numpy(), axis=-1)) if keys.device.type == "cpu" else keys.sort(-1).values
    positive = keys & 1
    negative = 1 - positive
    not_above = negative.cumsum(-1, dtype=torch.int32)
    value = keys >> 1
    first = torch.ones_like(value, dtype=torch.bool)
    torch.ne(value[..., 1:], value[..., :-1], out=first[..., 1:])
    below = torch.where(first, not_above - negative, 0).cummax(-1).values
    won = (positive * (below + not_above)).sum(-1, dtype=torch.int64).double() / 2
    n_positive = positives.sum(0).double()
    return won / (n_positive * (len(positives) - n_positive))


def _drawn(scores: np.ndarray, positives: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Count what every resample holds around the scores of the positives, each score once and ascending.

    Returns:
        Positives with that score, negatives below it, negatives with it, each `[scores, resamples]`; and all negatives
        `[resamples]`. Whole numbers, exact in float32.
    """
    from scipy.sparse import csr_array

    of_items = np.ascontiguousarray(np.asarray(weights).T, dtype=np.float32)  # no copy for what intervals draws
    steps, own = np.unique(scores[positives], return_inverse=True)
    held, rest = np.flatnonzero(positives), np.flatnonzero(~positives)
    place = np.searchsorted(steps, scores[rest])
    tied = np.append(steps, np.inf)[place] == scores[rest]

    def summed(rows: np.ndarray, items: np.ndarray, n: int) -> np.ndarray:
        return csr_array((np.ones(len(items), np.float32), (rows, items)), shape=(n, len(scores))) @ of_items

    positive = summed(own, held, len(steps))
    below = np.cumsum(summed(place + tied, rest, len(steps) + 1), axis=0)
    return positive, below[:-1], summed(place[tied], rest[tied], len(steps)), below[-1].astype(np.float64)


def resampled_roc_auc(scores: np.ndarray, positives: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """ROC-AUC of one column under many weightings of its items.

    Args:
        scores: `[items]`.
        positives: Booleans `[items]`.
        weights: `[resamples, items]`, how often each resample holds each item.

    Returns:
        float64 `[resamples]`; NaN where a resample holds no positive or no negative.
    """
    positive, below, level, n_negative = _drawn(scores, positives, weights)
    won = np.einsum("sr,sr->r", positive, below + level / 2, dtype=np.float64)
    pairs = positive.sum(axis=0, dtype=np.float64) * n_negative
    return np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def resampled_average_precision(scores: np.ndarray, positives: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision of one column under many weightings: the sum of precision times gain in recall, ties together.

    Arguments and result as in `resampled_roc_auc`.
    """
    positive, below, _, n_negative = _drawn(scores, positives, weights)
    n_positive = positive.sum(axis=0, dtype=np.float64)
    hits = np.cumsum(positive[::-1], axis=0)[::-1]
    shown = np.maximum(hits + (n_negative.astype(np.float32) - below), 1)  # where it is 0, so are the hits
    gained = np.einsum("sr,sr->r", positive, np.divide(hits, shown, dtype=np.float64))
    scorable = (n_positive > 0) & (n_negative > 0)
    return np.divide(gained, n_positive, out=np.full(len(gained), np.nan), where=scorable)


def resampled_macro(metric: Resampled, scores: np.ndarray, positives: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average a metric over the columns that each resample can score.

    Args:
        metric: `resampled_roc_auc` or `resampled_average_precision`.
        scores: `[items, columns]`.
        positives: Booleans `[items, columns]`; columns without both values are passed over.
        weights: `[resamples, items]`.

    Returns:
        float64 `[resamples]`; NaN where a resample can score no column.
    """
    total, count = np.zeros(len(weights)), np.zeros(len(weights))
    for column in np.flatnonzero(positives.any(axis=0) & ~positives.all(axis=0)):
        values = metric(scores[:, column], positives[:, column], weights)
        known = np.isfinite(values)
        total += np.where(known, values, 0.0)
        count += known
    return np.divide(total, count, out=np.full(len(weights), np.nan), where=count > 0)


def resampled_means(points: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Means of the points of items, `[items]` by metric, under weightings `[resamples, items]`: `[resamples]` each."""
    drawn = np.asarray(weights, dtype=np.float64)
    means = drawn @ np.stack(list(points.values()), axis=1) / drawn.sum(axis=1, keepdims=True)
    return dict(zip(points, means.T, strict=True))


def resampled_accuracy_and_f1(
    predicted: np.ndarray, targets: np.ndarray, weights: np.ndarray, n_classes: int
) -> dict[str, np.ndarray]:
    """`accuracy`, and `macro_f1` over the classes that a resample holds, `[resamples]` each.

    Args:
        predicted: Class numbers `[items]`.
        targets: The same.
        weights: `[resamples, items]`, how often each resample holds each item.
        n_classes: How many classes there are.
    """
    weights = np.asarray(weights, dtype=np.float64)
    is_class = targets[:, None] == np.arange(n_classes)
    predicted_class = predicted[:, None] == np.arange(n_classes)
    of_class, of_predicted = weights @ is_class, weights @ predicted_class
    correct = weights @ (is_class & predicted_class)
    f1 = np.divide(2 * correct, of_class + of_predicted, out=np.zeros_like(correct), where=of_class > 0)
    return {"accuracy": correct.sum(1) / weights.sum(1), "macro_f1": f1.sum(1) / (of_class > 0).sum(1)}


def r2(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """R² of every output, `[items, outputs]` twice to float64 `[outputs]`."""
    rest = ((targets - values) ** 2).sum(axis=0)
    spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    return _share(rest, np.where(np.ptp(targets, axis=0) == 0, 0.0, spread))


def r2_of_many(values: Tensor, targets: Tensor) -> Tensor:
    """R² of every output of many systems, on their device.

    Args:
        values: `[systems, items, outputs]`.
        targets: `[items, outputs]`.

    Returns:
        float64 `[systems, outputs]`, sums in double.
    """
    import torch

    targets = targets.double()
    rest = ((targets - values.double()) ** 2).sum(-2)
    spread = ((targets - targets.mean(0)) ** 2).sum(0)
    spread = torch.where(targets.amax(0) == targets.amin(0), 0.0, spread)
    known = 1 - rest / torch.where(spread == 0, 1.0, spread)
    return torch.where(spread == 0, (rest == 0).double(), known)


def resampled_r2(values: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R² of every output under many weightings of the items: weights `[resamples, items]` to `[resamples, outputs]`."""
    drawn = np.asarray(weights, dtype=np.float64)
    centred = targets - targets.mean(axis=0)
    total = drawn.sum(axis=1, keepdims=True)
    spread = drawn @ centred**2 - (drawn @ centred) ** 2 / total
    held = (drawn > 0)[:, :, None]
    highest = np.where(held, targets, -np.inf).max(axis=1)
    lowest = np.where(held, targets, np.inf).min(axis=1)
    return _share(drawn @ (targets - values) ** 2, np.where(highest == lowest, 0.0, spread))


def _share(rest: np.ndarray, spread: np.ndarray) -> np.ndarray:
    explained = 1 - np.divide(rest, spread, out=np.zeros_like(rest), where=spread > 0)
    return np.where(spread > 0, explained, (rest == 0).astype(np.float64))


def correlation(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Pearson's correlation of every output, `[items, outputs]` twice to `[outputs]`; 0 where one side is constant."""
    one, other = (side - side.mean(axis=0) for side in (values, targets))
    size = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    flat = (np.ptp(values, axis=0) == 0) | (np.ptp(targets, axis=0) == 0)
    return np.where(flat, 0.0, np.divide((one * other).sum(axis=0), size, out=np.zeros_like(size), where=size > 0))


def selection_metrics(given: np.ndarray, positives: np.ndarray) -> dict[str, float]:
    """How well the tags that are given fit those that are annotated.

    Micro averages count all pairs of track and tag; macro averages are means over the tags that some track has. Where
    nothing is given, precision is 0, as in scikit-learn.

    Args:
        given: Booleans `[tracks, tags]`.
        positives: Booleans `[tracks, tags]`, one of them true or more.

    Returns:
        `f1`, `precision` and `recall`, each `_micro` and `_macro`; `tags_per_track`; `untagged`, the share of tracks
        that get no tag.
    """
    hits, n_given, n_positive = ((given & positives).sum(axis=0), given.sum(axis=0), positives.sum(axis=0))
    had = n_positive > 0
    result = {}
    for average, (hit, said, held) in {
        "micro": (hits.sum(keepdims=True), n_given.sum(keepdims=True), n_positive.sum(keepdims=True)),
        "macro": (hits[had], n_given[had], n_positive[had]),
    }.items():
        result[f"f1_{average}"] = float(np.mean(2 * hit / (said + held)))
        result[f"precision_{average}"] = float(np.mean(hit / np.maximum(said, 1)))
        result[f"recall_{average}"] = float(np.mean(hit / held))
    result["tags_per_track"] = float(given.sum(axis=1).mean())
    result["untagged"] = float((~given.any(axis=1)).mean())
    return result
