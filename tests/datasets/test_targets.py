"""Targets of crops: a row a track, or a slice of the track's frames."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datasets.targets import ClipTargets, FrameTargets


def test_a_clip_has_one_target_wherever_the_crop_lies():
    targets = ClipTargets(np.array([[0.0, 1.0], [1.0, 0.0]], np.float32))
    assert len(targets) == 2
    for start in (-3, 0, 12.5, 1e9):
        assert targets.crop(1, start, 40).keys() == {"target"}
        assert targets.crop(1, start, 40)["target"].tolist() == [1, 0]
    assert targets.whole(0).tolist() == [0, 1]


def test_a_number_a_track_stays_a_number():
    assert ClipTargets(np.array([3, 5])).crop(1, 0, 1)["target"].shape == ()


@given(
    rows=st.integers(1, 30),
    start=st.integers(-40, 40),
    frames=st.integers(1, 30),
    offset=st.floats(-0.49, 0.49),
    shape=st.sampled_from([(), (2,)]),
)
def test_frames_are_those_of_the_padded_whole(rows, start, frames, offset, shape):
    array = np.arange(1, 1 + rows * max(1, *shape, 1), dtype=np.float32).reshape(rows, *shape)
    targets = FrameTargets([np.zeros((3, *shape), np.float32), array])
    padded = np.pad(array, [(80, 80)] + [(0, 0)] * len(shape))
    inside = np.pad(np.ones(rows, np.float32), 80)
    crop = targets.crop(1, start + offset, frames)
    np.testing.assert_array_equal(crop["target"], padded[80 + start : 80 + start + frames])
    np.testing.assert_array_equal(crop["mask"], inside[80 + start : 80 + start + frames])
    assert crop["mask"].dtype == np.float32
    assert crop["target"].dtype == array.dtype
    np.testing.assert_array_equal(targets.whole(1), array)
