"""Bars of known beats: the best of all labellings, and changes of metre."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rhythm.bars import bar_positions


def best_labelling(downbeat, bars: dict[int, float], change: float, weight: float) -> tuple[list[int], float]:
    """Tries every way to begin and every sequence of bars."""
    states = [(length, place) for length in bars for place in range(length)]

    def step(before: tuple[int, int], after: tuple[int, int]) -> float:
        if before[1] < before[0] - 1:
            return 0.0 if after == (before[0], before[1] + 1) else -math.inf
        if after[1]:
            return -math.inf
        if after[0] == before[0]:
            return math.log1p(-change) if len(bars) > 1 else 0.0
        return math.log(change / (len(bars) - 1)) + bars[after[0]]

    best, labels = -math.inf, []
    for path in itertools.product(states, repeat=len(downbeat)):
        score = max(bars[state[0]] - math.log(len(states)) + step(state, path[0]) for state in states)
        for (_, place), p in zip(path, downbeat, strict=True):
            score += math.log(p) if place == 0 else math.log((1 - p) / (weight - 1))
        score += sum(step(*pair) for pair in itertools.pairwise(path))
        if score > best:
            best, labels = score, [place + 1 for _, place in path]
    return labels, best


@given(
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=5),
    st.sampled_from([{2: 0.0, 3: 0.0}, {2: 0.0, 3: -4.0}, {3: 0.0}, {1: 0.0, 2: -1.0}]),
    st.sampled_from([1e-7, 0.1]),
    st.sampled_from([4.0, 100.0]),
)
@settings(max_examples=40)
def test_the_best_of_all_labellings(downbeat, bars, change, weight):
    labels, score = best_labelling(downbeat, bars, change, weight)
    positions, log_probability = bar_positions(np.array(downbeat), bars, metre_change=change, observation_weight=weight)
    assert log_probability == pytest.approx(score, abs=1e-9)
    assert len(positions) == len(labels)
    assert positions.tolist() == labels or len(set(downbeat)) < len(downbeat)


def test_a_metre_that_turns_from_four_to_three_and_back():
    lengths = [4] * 12 + [3] * 12 + [4] * 12
    truth = np.concatenate([np.arange(length) + 1 for length in lengths])
    noise = np.random.default_rng(0).normal(0, 0.08, len(truth))
    positions, _ = bar_positions(np.clip(np.where(truth == 1, 0.8, 0.15) + noise, 0, 1), {3: 0.0, 4: 0.0})
    np.testing.assert_array_equal(positions, truth)


def test_a_metre_with_a_small_prior_needs_more_evidence():
    downbeat = np.where(np.arange(24) % 3 == 0, 0.6, 0.4)
    assert set(bar_positions(downbeat, {3: 0.0, 4: 0.0})[0]) == {1, 2, 3}
    assert set(bar_positions(downbeat, {3: -100.0, 4: 0.0})[0]) == {1, 2, 3, 4}


def test_certain_activations_and_one_beat():
    assert bar_positions(np.array([1.0]), {4: 0.0})[0].tolist() == [1]
    assert bar_positions(np.array([1.0, 0, 0, 0, 1]), {3: 0.0, 4: 0.0})[0].tolist() == [1, 2, 3, 4, 1]
