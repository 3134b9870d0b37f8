"""Targets of beats: on the nearest step, moved and squeezed as the crop is, known only where something is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.beat_targets import BeatTargets
from datasets.beats import Beats
from datasets.targets import ClipTargets
from datasets.time_grid import TimeGrid

SONG = Beats(np.array([0.0, 0.51, 1.0, 1.49, 2.0]), np.array([1, 2, 3, 1, 2]))
UNBARRED = Beats(np.array([0.4, 0.9]))
GRID = TimeGrid(50.0)


def steps(curve: np.ndarray) -> list[int]:
    return np.flatnonzero(curve == 1).tolist()


def test_beats_are_on_the_nearest_step_and_a_crop_holds_its_start_but_not_its_end():
    crop = BeatTargets([SONG], GRID).crop(0, 50, 50)
    assert steps(crop["target"][:, 0]) == [0, 24]  # 1.0 and 1.49 (at 24.5, halves to even); 2.0 is the next crop's
    assert steps(crop["target"][:, 1]) == [24]
    assert crop["mask"].all()
    assert crop["target"].dtype == crop["mask"].dtype == np.float32


@given(pool=st.integers(1, 8), start=st.integers(-40, 80), frames=st.integers(8, 120), rate=st.floats(0.7, 1.4))
def test_a_crop_at_any_speed_has_its_beats_within_half_a_step(pool, start, frames, rate):
    grid = TimeGrid(50.0, pool)
    target = BeatTargets([SONG], grid).crop(0, start, frames, rate)["target"]
    assert target.shape == (frames // pool, 2)
    found = grid.times(len(target))[target[:, 0] == 1]
    expected = (SONG.times - start / 50) / rate
    assert all(np.abs(expected - one).min() <= 0.5 / grid.rate + 1e-9 for one in found)
    edge = 0.5 / grid.rate + 1e-9
    inside = expected[(expected > grid.times(1)[0] + edge) & (expected < grid.times(len(target))[-1] - edge)]
    assert all(np.abs(found - one).min() <= edge for one in inside)


def test_widened_beats_have_shoulders_of_which_the_larger_counts():
    close = Beats(np.array([0.1, 0.14, 0.16]))
    curve = BeatTargets([close], GRID, widened=True).crop(0, 0, 10)["target"][:, 0]
    assert curve.tolist() == [0, 0, 0, 0, 0.5, 1, 0.5, 1, 1, 0.5]
    after = BeatTargets([close], GRID, widened=True).crop(0, 6, 2)["target"][:, 0]
    assert after.tolist() == [0.5, 1]  # a beat before the crop has a shoulder in it


def test_padding_and_unknown_downbeats_are_masked():
    targets = BeatTargets([SONG, UNBARRED], TimeGrid(50.0, 2))
    before = targets.crop(0, -6, 20)["mask"]
    assert before[:, 0].tolist() == [0] * 3 + [1] * 7
    behind = targets.without_padding(targets.crop(0, 0, 20), 13)["mask"]
    assert behind[:, 1].tolist() == [1] * 7 + [0] * 3
    assert targets.without_padding(targets.crop(0, 0, 20), 500)["mask"].all()
    unbarred = targets.crop(1, 0, 100)
    assert unbarred["mask"].mean(0).tolist() == [1, 0]
    assert unbarred["target"].sum(0).tolist() == [2, 0]


def test_scores_get_the_times_as_annotated():
    targets = BeatTargets([SONG, UNBARRED], GRID)
    assert len(targets) == 2
    assert targets.whole(1) is UNBARRED


def test_targets_of_whole_tracks_know_no_padding():
    crop = ClipTargets(np.ones((1, 2))).crop(0, 0, 10)
    assert ClipTargets(np.ones((1, 2))).without_padding(crop, 3) is crop


@pytest.mark.parametrize("none", [Beats(np.array([])), Beats(np.array([]), np.array([], int))])
def test_a_track_without_beats_has_empty_curves(none):
    crop = BeatTargets([none], GRID).crop(0, 0, 10)
    assert not crop["target"].any()
    assert crop["mask"][:, 0].all()
    assert crop["mask"][:, 1].all() == none.has_downbeats
