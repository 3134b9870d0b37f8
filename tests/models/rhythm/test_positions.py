"""Counting beats from downbeats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.beats import bar_positions
from models.rhythm.positions import count, metre


@pytest.mark.parametrize(
    ("beats", "downbeats", "expected"),
    [
        (6, [0, 4], [1, 2, 3, 4, 1, 2]),
        (7, [1, 5], [4, 1, 2, 3, 4, 1, 2]),
        (8, [3, 6], [0, 0, 0, 1, 2, 3, 1, 2]),
        (6, [2, 5], [2, 3, 1, 2, 3, 1]),
        (4, [1], [0, 1, 2, 3]),
        (3, [], [0, 0, 0]),
        (0, [], []),
    ],
    ids=["from the start", "pick-up", "a pick-up as long as a bar", "in three", "one downbeat", "none", "no beats"],
)
def test_positions(beats, downbeats, expected):
    assert count(beats, np.array(downbeats, np.int64)).tolist() == expected


@given(st.integers(0, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(n - 1, 0)), max_size=n))))
def test_downbeats_and_nothing_else_are_counted_as_one(beats_and_downbeats):
    beats, downbeats = beats_and_downbeats
    downbeats = sorted(number for number in downbeats if number < beats)
    positions = count(beats, np.array(downbeats, np.int64))
    assert np.flatnonzero(positions == 1).tolist() == downbeats
    known = positions[downbeats[0] :] if downbeats else positions[:0]
    assert ((np.diff(known) == 1) | (known[1:] == 1)).all()


@given(st.lists(st.booleans(), max_size=30))
def test_annotations_and_estimates_are_counted_alike(downbeats):
    """What annotates and what decodes know nothing of each other, and each counts for itself."""
    flags = np.array(downbeats, bool)
    np.testing.assert_array_equal(count(len(flags), np.flatnonzero(flags)), bar_positions(flags))


@pytest.mark.parametrize(
    ("positions", "expected"),
    [([1, 2, 3, 1, 2, 3, 4, 1, 2, 3, 1], 3), ([1, 2, 1, 2, 3, 1], 2), ([4, 1, 2, 3, 4], None), ([], None)],
)
def test_the_commonest_bar(positions, expected):
    assert metre(np.array(positions, np.int64)) == expected
