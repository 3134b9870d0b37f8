"""How far a score would move on other tracks of the same kind, and with other seeds: bootstrap intervals.

Differences are resampled in pairs: both systems are scored on the same draws. Where several pairs are compared, their
intervals hold together (the largest deviation over all pairs, max-T: Romano and Wolf 2005), and where a system was the
best of many on these very items, each of the many counts as a pair (Bonferroni). What seeds change comes on top: the
variance of their mean is added, and few seeds widen the interval by Student's t with Welch and Satterthwaite's degrees
of freedom. No interval goes beyond what its metric can be.

Where every resample scores 0, or every one 1, resampling says nothing: no item differs. The interval is then the exact
one of so many misses, or hits, in a row (Clopper and Pearson 1934). Any other score that does not move is one by
definition, such as the ROC-AUC of 0.5 of equal predictions for all items, and its interval has no width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
SHARES = ("accuracy", "accuracy1", "accuracy2", "ap", "macro_f1", "roc_auc", "weighted_score")  # metrics from 0 to 1


class IntervalError(ValueError):
    """Scores that no interval can be made of."""


def central(name: str, values: np.ndarray, n_items: int) -> tuple[float, float]:
    """The central 95 % of a metric's resamples; where all are exactly 0 or exactly 1, the exact binomial interval.

    Args:
        name: Of the metric, for messages.
        values: `[resamples]`; those that are not finite are passed over.
        n_items: In a resample.

    Raises:
        IntervalError: None is finite.
    """
    known = _known(name, values)
    unseen = unseen_share(n_items)
    if (known == 0).all():
        return 0.0, unseen
    if (known == 1).all():
        return 1 - unseen, 1.0
    return _quantiles(known)


def unseen_share(n_items: int, level: float = LEVEL) -> float:
    """How large a share of all items may be of a kind that none of `n_items` is: the exact two-sided bound."""
    return 1 - ((1 - level) / 2) ** (1 / n_items)


def limits(metric: str) -> tuple[float, float]:
    """The lowest and the highest value that a metric can have; infinite where it has none, or is not known."""
    if metric in SHARES:
        return 0.0, 1.0
    return -math.inf, 1.0 if metric == "r2" or metric.startswith("r2_") else math.inf


def _known(name: str, values: np.ndarray) -> np.ndarray:
    known = values[np.isfinite(values)]
    if not len(known):
        raise IntervalError(f"{name} can be computed on none of {len(values)} resamples: there are too few items")
    return known


def _quantiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class SystemScores:
    """The scores of one of several systems on the same items.

    Attributes:
        seeds: Its score with every seed.
        resampled: Its score on every resample of the items, mean over seeds, `[resamples]`.
        tried: From how many it was chosen as the best on these items; 1 where it was chosen elsewhere.
    """

    seeds: Sequence[float]
    resampled: np.ndarray
    tried: int = 1


@dataclass(frozen=True)
class Difference:
    """How far one system is ahead of another, and the interval around it."""

    ahead: float
    low: float
    high: float

    @property
    def more_than_chance(self) -> bool:
        """Whether zero lies outside of the interval."""
        return self.low > 0 or self.high < 0


def differences(
    systems: Mapping[str, SystemScores], n_items: int, metric: str = ""
) -> dict[tuple[str, str], Difference]:
    """How far every system is ahead of every later one, in intervals that hold together with 95 %.

    A difference that is the same on every resample, and not 0, gets the width of an exact sign test: so many items must
    agree before it is more than chance.

    Args:
        systems: By name; all scored on the same resamples.
        n_items: In a resample.
        metric: What the scores are, which says how far apart they can be.

    Returns:
        Pair of names, in the order given -> difference; empty for fewer than two systems.

    Raises:
        IntervalError: The systems were not scored on equally many resamples, or on none that all can be scored on.
    """
    pairs = list(itertools.combinations(systems, 2))
    if not pairs:
        return {}
    if len({len(one.resampled) for one in systems.values()}) > 1:
        raise IntervalError(f"{', '.join(systems)}: compared on different numbers of resamples")
    known = np.isfinite([one.resampled for one in systems.values()]).all(axis=0)
    if known.sum() < 2:
        raise IntervalError(f"no two of {len(known)} resamples can be scored for all systems: there are too few items")
    moved = np.array([systems[one].resampled[known] - systems[other].resampled[known] for one, other in pairs])
    moved -= moved.mean(axis=1, keepdims=True)
    spread = moved.std(axis=1) * math.sqrt(n_items / max(1, n_items - 1))
    ratio = np.divide(np.abs(moved), spread[:, None], out=np.zeros_like(moved), where=spread[:, None] > 0)
    tried = sum(systems[one].tried * systems[other].tried for one, other in pairs)
    least = _normal(1 - (1 - LEVEL) / (tried if tried > len(pairs) else 1))
    unseen = unseen_share(n_items, 1 - (1 - LEVEL) / max(tried, len(pairs)))
    critical = max(float(np.quantile(ratio.max(axis=0), LEVEL)), least)
    lowest, highest = limits(metric)
    found, farthest = {}, highest - lowest
    for (one, other), deviation in zip(pairs, spread, strict=True):
        ahead = float(np.mean(systems[one].seeds) - np.mean(systems[other].seeds))
        items = float(deviation) if deviation > 0 or ahead == 0 else unseen * (1 + abs(ahead)) / critical
        half = _widened(critical, items**2, *_seed_variance(systems[one].seeds, systems[other].seeds))
        found[one, other] = Difference(ahead, max(-farthest, ahead - half), min(farthest, ahead + half))
    return found


def bounds(metric: str, low: float, high: float, seeds: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a mean over seeds: that over items, `low` to `high`, with what the seeds change on top.

    What is added is the same on both sides; the interval over items may reach farther on one of them.
    """
    value, (least, most) = float(np.mean(seeds)), limits(metric)
    added = margin(low, high, seeds) ** 2 - ((high - low) / 2) ** 2
    below, above = (math.sqrt(max(0.0, side) ** 2 + max(0.0, added)) for side in (value - low, high - value))
    return max(least, value - below), min(most, value + above)


def margin(low: float, high: float, seeds: Sequence[float]) -> float:
    """Half of a 95 % interval over items, `low` to `high`, with what the seeds change on top."""
    critical = _normal(LEVEL)
    return _widened(critical, ((high - low) / 2 / critical) ** 2, *_seed_variance(seeds))


def _seed_variance(one: Sequence[float], other: Sequence[float] = ()) -> tuple[float, float]:
    """Variance of the mean over seeds (of the difference, in pairs where both have as many), degrees of freedom."""
    if len(one) == len(other):
        one, other = np.subtract(one, other), ()
    parts = [(float(np.var(seeds, ddof=1)) / len(seeds), len(seeds) - 1) for seeds in (one, other) if len(seeds) > 1]
    total = sum(variance for variance, _ in parts)
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts) if total > 0 else math.inf
    return total, freedom


def _widened(critical: float, items: float, seeds: float, freedom: float) -> float:
    """Half of an interval of so many deviations, by the variances over items and over seeds."""
    from scipy.special import ndtr, stdtrit

    total = items + seeds
    if seeds == 0:
        return critical * math.sqrt(total)
    freedom *= (total / seeds) ** 2
    return -float(stdtrit(freedom, ndtr(-critical))) * math.sqrt(total)


def _normal(level: float) -> float:
    """Deviations that hold a share of a normal distribution between plus and minus them."""
    from scipy.special import ndtri

    return -float(ndtri((1 - level) / 2))
