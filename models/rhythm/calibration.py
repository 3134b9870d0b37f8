"""Outputs of a network whose loss weighs rare positives -> probabilities that a model of bars can add up.

Positives that count many times make a network say yes where it is likely wrong: good for a threshold of one half, bad
for a model that weighs a beat against none in every frame. It then prefers twice the tempo, and downbeats on beats.
The odds that a loss with a weight `w` teaches are `w` times those of the data (Elkan, "The foundations of
cost-sensitive learning", IJCAI 2001), so they are divided by it. Where a loss tolerates shifts, a peak that is wrong
is punished once in each of the steps that see it, which makes the weight as many times smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.special import expit, logit

NEIGHBOURS = 2 * 3 + 1  # steps of a beat and beside it, which are no negatives in the weight of the positives
SURE = 1e-6  # how near to 0 and 1 a float32 probability is still told apart from them


def calibrated(
    activations: np.ndarray, weights: Sequence[float], reach: int = 0, downbeats: float | None = None
) -> np.ndarray:
    """Probabilities of any beat and of a downbeat, for a model of bars.

    A beat is divided into a downbeat and another beat by the highest activation of a downbeat nearby: beside their
    peaks the two curves fall at different rates, and a model that looks at several frames of a beat would take the
    difference for evidence. How common downbeats are is taken out of it, as the model of bars says that itself.

    Args:
        activations: Sigmoids of the network, `[steps, 1]` or `[steps, 2]`: any beat, downbeat.
        weights: Of the positives of both curves in the loss.
        reach: Steps by which the loss lets a peak miss the annotation.
        downbeats: Share of the beats that are downbeats, over the corpus; None: one half.

    Returns:
        float64 of the same shape; a downbeat is never likelier than a beat. What is no number stays so.
    """
    steps = 2 * reach + 1
    odds = logit(np.clip(np.asarray(activations, np.float64), SURE, 1 - SURE))
    beat = expit(odds[:, 0] - math.log(weights[0] / steps))
    if odds.shape[1] == 1:
        return beat[:, None]
    common = 0.0 if downbeats is None else float(logit(downbeats))
    highest = maximum_filter1d(odds[:, 1], steps, mode="nearest")
    share = expit(highest - math.log(weights[1] / steps) - common)
    return np.stack([beat, np.where(np.isnan(odds[:, 1]), np.nan, beat * share)], 1)


def positive_weight(interval: float, rate: float) -> float:
    """What a positive counts for, so that all of them count about as much as the negatives.

    Args:
        interval: Seconds from one to the next, on average.
        rate: Steps a second.

    Returns:
        Negatives per positive, a whole number of 1 or more.
    """
    return max(1.0, float(round(interval * rate - NEIGHBOURS)))
