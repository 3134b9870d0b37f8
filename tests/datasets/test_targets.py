"""Targets of tracks and of their frames."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.targets import ClipTargets, FrameTargets


def test_every_crop_of_a_track_has_its_target():
    targets = ClipTargets(np.array([3, 1]))
    assert len(targets) == 2
    assert targets.crop(1, 100, 50) == {"target": 1}
    assert targets.whole(0) == 3


@pytest.mark.parametrize(
    ("start", "target", "mask"),
    [
        (0, [1, 2, 3], [1, 1, 1]),
        (2, [3, 4, 0], [1, 1, 0]),
        (-1, [0, 1, 2], [0, 1, 1]),
        (1.4, [2, 3, 4], [1, 1, 1]),
        (7, [0, 0, 0], [0, 0, 0]),
        (-9, [0, 0, 0], [0, 0, 0]),
    ],
)
def test_frames_outside_of_the_track_do_not_count(start, target, mask):
    targets = FrameTargets([np.zeros((9, 2)), np.array([1, 2, 3, 4])])
    crop = targets.crop(1, start, 3)
    assert crop["target"].tolist() == target
    assert crop["mask"].tolist() == mask
    assert targets.crop(0, 8, 2)["target"].shape == (2, 2)
    assert targets.whole(1).tolist() == [1, 2, 3, 4]
    assert len(targets) == 2


def test_a_short_track_in_a_long_crop():
    crop = FrameTargets([np.array([1, 2])]).crop(0, -2, 7)
    assert crop["target"].tolist() == [0, 0, 1, 2, 0, 0, 0]
    assert crop["mask"].tolist() == [0, 0, 1, 1, 0, 0, 0]
