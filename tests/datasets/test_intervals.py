"""Bootstrap intervals of scores and of their differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from datasets.intervals import IntervalError, SystemScores, bounds, differences, margin


@pytest.mark.parametrize(("n", "more"), [(3, False), (5, False), (6, True), (40, True)])
def test_a_difference_that_never_moves_is_tested_as_by_a_sign_test(n, more):
    drawn = np.zeros(100)
    (found,) = differences({"right": SystemScores([1.0], drawn + 1), "wrong": SystemScores([0.0], drawn)}, n).values()
    assert found.ahead == 1.0
    assert found.more_than_chance is more


def normal_system(rng, level: float, n_items: int = 200, n: int = 250, seeds: int = 1, spread: float = 0.0, tried=1):
    """A system whose score is the mean of its items' values, with what every seed adds."""
    items = level + rng.normal(size=n_items)
    weights = rng.multinomial(n_items, np.full(n_items, 1 / n_items), size=n)
    added = spread * rng.normal(size=seeds)
    return SystemScores(items.mean() + added, weights @ items / n_items, tried)


@pytest.mark.parametrize(("n_systems", "seeds", "spread"), [(2, 1, 0.0), (4, 1, 0.0), (2, 3, 0.3)])
def test_all_intervals_together_hold_the_truth_in_95_of_100_corpora(n_systems, seeds, spread):
    rng = np.random.default_rng(5)
    held, rounds = 0, 200
    for _ in range(rounds):
        levels = rng.normal(size=n_systems)
        systems = {str(at): normal_system(rng, level, seeds=seeds, spread=spread) for at, level in enumerate(levels)}
        found = differences(systems, 200)
        held += all(one.low <= levels[int(a)] - levels[int(b)] <= one.high for (a, b), one in found.items())
    assert binom.ppf(0.001, rounds, 0.95) <= held <= binom.ppf(0.9999, rounds, 0.98)


def test_the_best_of_many_by_luck_is_seldom_more_than_chance():
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(80):
        best = max((normal_system(rng, 0.0, 100, 200) for _ in range(20)), key=lambda one: one.seeds[0])
        systems = {"best": SystemScores(best.seeds, best.resampled, 20), "other": normal_system(rng, 0.0, 100, 200)}
        alarms += differences(systems, 100)["best", "other"].more_than_chance
    assert alarms <= binom.ppf(0.999, 80, 0.05)


def test_seeds_widen_and_more_of_them_less():
    assert margin(0.5, 0.7, [0.6]) == pytest.approx(0.1)
    assert margin(0.5, 0.7, [0.6, 0.6]) == pytest.approx(0.1)
    two, many = margin(0.5, 0.7, [0.55, 0.65]), margin(0.5, 0.7, [0.55, 0.65] * 8)
    assert 0.1 < many < two


@pytest.mark.parametrize("seeds", [[0.05], [0.0, 0.1], [0.0, 1.0], [0.9, 0.1, 0.5]])
def test_an_interval_ends_where_its_metric_does(seeds):
    low, high = bounds("accuracy", 0.0, 0.15, seeds)
    assert 0 <= low <= np.mean(seeds) <= high <= 1
    low, high = bounds("r2_valence", -8.0, 0.6, [one - 0.5 for one in seeds])
    assert low <= -8
    assert 0.6 <= high <= 1


def test_one_seed_leaves_an_interval_as_the_items_have_it():
    assert bounds("r2", -8.568, 0.634, [-0.024]) == pytest.approx((-8.568, 0.634))
    assert bounds("r2", -8.568, 0.634, [-0.024, -0.024]) == pytest.approx((-8.568, 0.634))


def test_what_seeds_add_is_the_same_on_both_sides():
    half = margin(0.4, 0.6, [0.48, 0.5, 0.52])
    assert bounds("accuracy", 0.4, 0.6, [0.48, 0.5, 0.52]) == pytest.approx((0.5 - half, 0.5 + half))


def test_a_difference_of_shares_is_at_most_one_of_r2_any():
    drawn = np.random.default_rng(0).normal(0.5, 0.2, 100)
    systems = {"a": SystemScores([0.1, 0.4], drawn), "b": SystemScores([0.4, 0.1], np.roll(drawn, 1))}
    for metric, wide in (("accuracy", False), ("r2", True), ("", True)):
        found = differences(systems, 10, metric)["a", "b"]
        assert (found.low < -1, found.high > 1) == (wide, wide)
        if not wide:
            assert (found.low, found.high) == (-1, 1)


def test_seeds_are_compared_in_pairs_where_both_have_as_many():
    rng = np.random.default_rng(0)
    drawn, moved = rng.normal(size=300), [-0.2, 0.0, 0.2]
    paired = {
        "a": SystemScores([0.6 + one for one in moved], drawn),
        "b": SystemScores([0.5 + one for one in moved], drawn),
    }
    assert differences(paired, 50)["a", "b"].more_than_chance
    apart = paired | {"b": SystemScores([0.3, 0.5, 0.7, 0.5], drawn)}
    assert not differences(apart, 50)["a", "b"].more_than_chance


def test_systems_that_cannot_be_compared_are_errors():
    with pytest.raises(IntervalError, match="numbers of resamples"):
        differences({"a": SystemScores([1], np.zeros(3)), "b": SystemScores([1], np.zeros(4))}, 5)
    with pytest.raises(IntervalError, match="too few items"):
        differences({"a": SystemScores([1], np.full(3, np.nan)), "b": SystemScores([1], np.zeros(3))}, 5)
    assert differences({"a": SystemScores([1], np.zeros(3))}, 5) == {}
