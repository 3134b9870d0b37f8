"""Thresholds against brute force, and what shrinking promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from models.thresholds import STRENGTH, USUAL, Thresholds, best_threshold, fit_thresholds


def tagged(seed: int, tracks: int, tags: int, steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scores, of few distinct values where `steps` are given, and positives that some tags may lack."""
    rng = np.random.default_rng(seed)
    scores = rng.random((tracks, tags))
    scores = scores if steps is None else np.floor(scores * (steps + 1)) / steps
    return scores, rng.random((tracks, tags)) < rng.uniform(0, 0.6, tags) * (scores + 0.3)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.sampled_from([None, 1, 4, 10]))
def test_the_best_threshold_has_the_largest_f1_of_all(seed, items, steps):
    scores, positives = (column[:, 0] for column in tagged(seed, items, 1, steps))
    positives[seed % items] = True
    found = best_threshold(scores, positives)
    f1 = {one: f1_score(positives, scores >= one, zero_division=0) for one in [*np.unique(scores), 1.1]}
    assert 0 <= found <= 1
    assert f1_score(positives, scores >= found) == pytest.approx(max(f1.values()), abs=1e-12)


def test_neighbouring_numbers_are_told_apart():
    upper = 0.5
    lower = math.nextafter(upper, 0)
    assert best_threshold(np.array([lower, upper]), np.array([False, True])) == upper
    assert best_threshold(np.array([0.0, 0.0]), np.array([True, True])) == 0.0
    assert best_threshold(np.array([1.0, 0.2]), np.array([True, True])) == pytest.approx(0.1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([None, 3]))
def test_order_does_not_matter_and_all_lie_between_their_own_and_the_overall_one(seed, tracks, steps):
    scores, positives = tagged(seed, tracks, 4, steps)
    names = ["a", "b", "c", "d"]
    found = fit_thresholds(scores, positives, names, "valid")
    order = np.random.default_rng(seed).permutation(tracks)
    assert fit_thresholds(scores[order], positives[order], names, "valid") == found
    assert found.tracks == tracks
    for column, value in enumerate(found.values):
        assert 0 <= value <= 1
        n = int(positives[:, column].sum())
        own = best_threshold(scores[:, column], positives[:, column]) if n else found.overall
        assert value == pytest.approx((n * own + STRENGTH * found.overall) / (n + STRENGTH), abs=1e-12)


def test_a_tag_without_positives_has_the_overall_one_and_a_frequent_one_its_own():
    rng = np.random.default_rng(0)
    frequent = np.arange(20_000) % 2 == 0
    scores = np.stack([np.where(frequent, 0.9, 0.8), rng.uniform(0, 0.3, 20_000)], 1)
    positives = np.stack([frequent, np.zeros(20_000, bool)], 1)
    found = fit_thresholds(scores, positives, ["frequent", "never"], "valid")
    assert found.values[1] == found.overall
    assert found.values[0] == pytest.approx(0.85, abs=1e-4)
    assert fit_thresholds(scores, np.zeros_like(positives), ["a", "b"], "valid").values == (USUAL, USUAL)


def test_an_entry_is_read_as_it_was_written():
    thresholds = Thresholds(("a", "b"), (0.1, 0.7), 0.3, "valid", 12)
    assert thresholds.entry == {"tags": ["a", "b"], "values": [0.1, 0.7], "global": 0.3, "split": "valid", "tracks": 12}
    assert Thresholds.of_entry(thresholds.entry) == thresholds


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ([0.1], "is a list, expected an object"),
        ({"tags": None}, "no list of names as tags"),
        ({"values": [0.1]}, "1 values for 2 tags"),
        ({"values": "ab"}, "no list of values for 2 tags"),
        ({"values": [0.1, math.nan]}, "the threshold nan for 'b', expected a number from 0 to 1"),
        ({"values": [True, 0.1]}, "the threshold True for 'a'"),
        ({"values": [0.1, 1.2]}, "the threshold 1.2 for 'b'"),
        ({"global": -0.1}, "the threshold -0.1 for 'global'"),
        ({"global": None}, "the threshold None for 'global'"),
        ({"tracks": -1}, "tracks -1"),
    ],
)
def test_anything_else_is_named(changed, message):
    entry = {"tags": ["a", "b"], "values": [0.1, 0.7], "global": 0.3, "split": "valid", "tracks": 12}
    with pytest.raises(ValueError, match=message):
        Thresholds.of_entry({**entry, **changed} if isinstance(changed, dict) else changed)


def test_the_first_other_tag_is_named():
    thresholds = Thresholds(("a", "b"), (0.1, 0.7), 0.3, "valid", 12)
    thresholds.check_tags(["a", "b"])
    with pytest.raises(ValueError, match="tag 1 is 'b' there, and 'c' in the network"):
        thresholds.check_tags(["a", "c", "d"])
    with pytest.raises(ValueError, match="for 2 tags, the network has 1"):
        thresholds.check_tags(["a"])
