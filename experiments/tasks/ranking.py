"""ROC-AUC and average precision of many columns, or of many resamples, at once.

Reported scores come from scikit-learn. These forms give the same numbers where it would have to be called thousands of
times: every few steps for early stopping, and a thousand times for a bootstrap interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


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
