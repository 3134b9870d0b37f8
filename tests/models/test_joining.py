"""Windows over time laid side by side: nothing lost, margins left to neighbours, the earlier window first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.joining import side_by_side


@given(
    length=st.integers(4, 20), margin=st.integers(0, 4), steps=st.integers(1, 90), columns=st.sampled_from([(), (2,)])
)
def test_the_track_comes_out_of_its_windows(length, margin, steps, columns):
    margin = min(margin, (length - 1) // 2)
    track = np.random.default_rng(0).random((steps + length, *columns))
    apart = length - 2 * margin
    places = np.array([*range(0, max(steps - length, 0), apart), max(steps - length, 0)])
    windows = np.stack([track[place : place + length] for place in places])
    windows[1:, :margin] = -1.0  # poor at its ends, where it has neighbours
    if margin:
        windows[:-1, -margin:] = -1.0
    joined = side_by_side(windows, places, steps, margin)
    np.testing.assert_array_equal(joined, track[:steps])


def test_the_earlier_window_counts_where_two_overlap_whatever_their_order():
    windows = np.array([np.full(6, 2.0), np.full(6, 1.0)])
    assert side_by_side(windows, np.array([4, 0])).tolist() == [1] * 6 + [2] * 4
    assert side_by_side(windows, np.array([4, 0]), margin=1).tolist() == [1] * 5 + [2] * 5


def test_padding_on_both_sides_is_cut_and_gaps_are_silent():
    assert side_by_side(np.ones((1, 8)), np.array([-2]), 5).tolist() == [1] * 5
    assert side_by_side(np.ones((1, 2)), np.array([3]), 7).tolist() == [0, 0, 0, 1, 1, 0, 0]
    assert side_by_side(np.ones((1, 2)), np.array([3])).tolist() == [0, 0, 0, 1, 1]
