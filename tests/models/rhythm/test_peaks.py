"""Picking peaks: plateaus, edges, rates, times between frames, and downbeats among them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.rhythm.peaks import decode_peaks, pick_peaks, uphill


def curve(frames: int, **values: float) -> np.ndarray:
    activations = np.full(frames, 0.1)
    for name, value in values.items():
        activations[int(name[1:])] = value
    return activations


def test_plateaus_are_one_peak_in_their_middle():
    activations = curve(40, f10=0.9, f11=0.9, f25=0.8, f26=0.8, f27=0.8)
    assert pick_peaks(activations, 50).tolist() == [10.5, 26]
    assert pick_peaks(np.ones(101), 50).tolist() == [50]


def test_a_window_is_one_frame_at_least():
    assert pick_peaks(curve(20, f5=0.9, f6=0.8, f7=0.7), 5, refine=False).tolist() == [5]


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
@example(849, 14)
def test_of_peaks_too_close_the_highest_stay(seed, least):
    activations = np.random.default_rng(seed).random(300)
    peaks = pick_peaks(activations, 100, window=0.0, min_interval=least / 100, refine=False)
    left, expected = set(pick_peaks(activations, 100, window=0.0, refine=False)), []
    while left:
        expected.append(max(left, key=lambda peak: activations[int(peak)]))
        left = {peak for peak in left if abs(peak - expected[-1]) >= least}
    assert peaks.tolist() == sorted(expected)


def test_the_edges_count_as_lower():
    assert pick_peaks(curve(20, f0=0.7, f19=0.6), 50).tolist() == [0, 19]


@pytest.mark.parametrize(("rate", "reach"), [(25, 2), (50, 3), (100, 6)])
def test_the_window_is_60_ms_to_either_side_at_any_rate(rate, reach):
    near, far = curve(60), curve(60)
    near[[20, 20 + reach]] = far[[20, 21 + reach]] = 0.9, 0.8
    assert pick_peaks(near, rate).tolist() == [20]
    assert pick_peaks(far, rate).tolist() == [20, 21 + reach]


def test_what_is_not_above_the_threshold_is_none():
    assert pick_peaks(curve(20, f5=0.5, f15=0.51), 50).tolist() == [15]
    assert pick_peaks(curve(20, f5=0.5, f15=0.51), 50, threshold=0.3).tolist() == [5, 15]


@given(st.floats(-0.49, 0.49), st.floats(2.0, 6.0))
def test_a_parabola_is_found_between_frames(shift, width):
    frames = np.arange(40)
    activations = 0.9 - ((frames - 20 - shift) / width) ** 2 / 10
    assert pick_peaks(activations, 50)[0] == pytest.approx(20 + shift, abs=1e-6)


def test_frames_move_to_a_higher_neighbour():
    activations = np.array([0.5, 0.4, 0.1, 0.2, 0.3, 0.4, 0.3, 0.1])
    assert uphill(activations, np.array([0, 1, 2, 5, 7])).tolist() == [0, 0, 1, 5, 6]
    assert uphill(np.ones(4), np.array([0, 3])).tolist() == [0, 3]


def test_two_beats_closer_than_the_least_interval_leave_the_higher_one():
    activations = curve(60, f10=0.8, f20=0.9, f30=0.7, f50=0.6)
    assert pick_peaks(activations, 50, min_interval=0.25).tolist() == [20, 50]
    assert pick_peaks(activations, 50, min_interval=0.2).tolist() == [10, 20, 30, 50]


@given(arrays.arrays(np.float64, st.integers(0, 80), elements=st.sampled_from([0.0, 0.2, 0.6, 0.8, 1.0])))
def test_peaks_ascend_and_are_higher_than_the_threshold(activations):
    peaks = pick_peaks(activations, 50)
    assert (np.diff(peaks) > 1).all()
    assert (activations[np.rint(peaks).astype(int)] > 0.5).all()


def test_downbeats_move_to_the_beats_within_the_window():
    beat, downbeat = curve(100, f10=0.9, f35=0.9, f60=0.9), curve(100, f12=0.8, f60=0.7)
    found = decode_peaks(beat, downbeat, 50)
    assert found.times.tolist() == [0.2, 0.7, 1.2]
    assert found.positions.tolist() == [1, 2, 1]
    assert found.metre == 2
    assert found.confidence == pytest.approx([0.9] * 3)


def test_two_downbeats_at_one_beat_are_one():
    found = decode_peaks(curve(60, f20=0.9), curve(60, f14=0.8, f26=0.7), 100)
    assert (found.times.tolist(), found.positions.tolist()) == ([0.2], [1])


def test_a_downbeat_far_from_beats_is_inserted_where_it_is_likelier_than_no_beat():
    beat = curve(100, f10=0.9, f60=0.9, f35=0.4)
    assert decode_peaks(beat, curve(100, f35=0.7), 50).times.tolist() == [0.2, 0.7, 1.2]
    assert decode_peaks(beat, curve(100, f35=0.7), 50).positions.tolist() == [0, 1, 2]
    assert decode_peaks(beat, curve(100, f35=0.55), 50).times.tolist() == [0.2, 1.2]


def test_without_beats_there_are_no_downbeats():
    found = decode_peaks(curve(100), curve(100, f35=0.99), 50)
    assert (len(found), len(found.downbeats), found.metre) == (0, 0, None)


def test_beats_alone_have_no_positions():
    found = decode_peaks(curve(100, f10=0.9, f60=0.9), None, 50)
    assert found.positions.tolist() == [0, 0]
