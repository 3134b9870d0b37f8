"""ROC-AUC and average precision of many columns, or of many resamples, at once.

Reported scores come from scikit-learn. These forms give the same numbers where it would have to be called thousands of
times: every few steps for early stopping, and a thousand times for a bootstrap interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

FEW = 800  # items of one kind up to which a product with all comparisons is faster than running sums


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


def _by_score(scores: np.ndarray, positives: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the weights of positives and of negatives over equal scores, scores ascending: two `[resamples, scores]`."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)
    weights, positives = np.asarray(weights, dtype=np.float64)[:, order], positives[order]
    return np.add.reduceat(weights * positives, starts, axis=1), np.add.reduceat(weights * ~positives, starts, axis=1)


def _drawn(weights: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each resample holds each positive, float32 `[resamples, positives]`, and how many items."""
    weights = np.asarray(weights)
    return weights[:, positives].astype(np.float32), weights.sum(axis=1, dtype=np.float64)


def resampled_roc_auc(scores: np.ndarray, positives: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """ROC-AUC of one column under many weightings of its items.

    Args:
        scores: `[items]`.
        positives: Booleans `[items]`.
        weights: `[resamples, items]`, how often each resample holds each item.

    Returns:
        float64 `[resamples]`; NaN where a resample holds no positive or no negative.
    """
    if 2 * positives.sum() > len(positives):  # the same with the rarer kind in front
        scores, positives = -np.asarray(scores), ~positives
    if positives.sum() <= FEW:
        positive, total = _drawn(weights, positives)
        ahead = np.subtract(scores[positives], scores[:, None], dtype=np.float64 if scores.itemsize > 4 else np.float32)
        ahead = np.sign(ahead, out=ahead).astype(np.float32, copy=False)
        ahead[positives] = 0
        margin = np.einsum("ri,ri->r", np.asarray(weights, dtype=np.float32) @ ahead, positive, dtype=np.float64)
        n_positive = positive.sum(axis=1, dtype=np.float64)
        pairs = n_positive * (total - n_positive)
        won = (pairs + margin) / 2
    else:
        positive, negative = _by_score(scores, positives, weights)
        below = np.cumsum(negative, axis=1) - negative
        won = (positive * (below + negative / 2)).sum(axis=1)
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def resampled_average_precision(scores: np.ndarray, positives: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision of one column under many weightings: the sum of precision times gain in recall, ties together.

    Arguments and result as in `resampled_roc_auc`.
    """
    if positives.sum() <= FEW:
        positive, total = _drawn(weights, positives)
        own = scores[positives]
        shown = np.asarray(weights, dtype=np.float32) @ (scores[:, None] >= own).astype(np.float32)
        hits = (positive @ (own[:, None] >= own).astype(np.float32)).astype(np.float64)
        precision = np.divide(hits, shown, out=np.zeros_like(hits), where=shown > 0)
        gained, n_positive = np.einsum("ri,ri->r", positive, precision), positive.sum(axis=1, dtype=np.float64)
        scorable = (n_positive > 0) & (n_positive < total)
        return np.divide(gained, n_positive, out=np.full(len(gained), np.nan), where=scorable)
    positive, negative = (counts[:, ::-1] for counts in _by_score(scores, positives, weights))
    hits = np.cumsum(positive, axis=1)
    shown = np.cumsum(positive + negative, axis=1)
    precision = np.divide(hits, shown, out=np.zeros_like(hits), where=shown > 0)
    n_positive = positive.sum(axis=1)
    scorable = (n_positive > 0) & (negative.sum(axis=1) > 0)
    gained = (positive * precision).sum(axis=1)
    return np.divide(gained, n_positive, out=np.full(len(gained), np.nan), where=scorable)
