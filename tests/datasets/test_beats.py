from __future__ import annotations

import numpy as np
import pytest

from datasets.beats import Beats


def test_downbeats_and_tempo():
    beats = Beats(np.array([0.5, 1.0, 1.5, 2.1]), np.array([4, 1, 2, 0]))
    assert beats.downbeats.tolist() == [1.0]
    assert beats.tempo == pytest.approx(120)
    assert beats.has_downbeats
    without = Beats([0.5, 1.0])
    assert not without.has_downbeats
    assert without.downbeats.tolist() == []
    assert Beats([1.0]).tempo is None
    assert len(Beats([])) == 0


def test_an_interval_begins_with_a_beat_and_ends_before_one():
    inside = Beats([0.5, 1.0, 1.5], [1, 2, 1]).between(0.5, 1.5)
    assert (inside.times.tolist(), inside.positions.tolist()) == ([0.5, 1.0], [1, 2])


@pytest.mark.parametrize("times", [[1.0, 1.0], [2.0, 1.0], [-0.1, 1.0], [np.nan], [[1.0]]])
def test_times_that_cannot_be(times):
    with pytest.raises(ValueError, match="times"):
        Beats(times)


@pytest.mark.parametrize("positions", [[1], [1, -1]])
def test_positions_that_cannot_be(positions):
    with pytest.raises(ValueError, match="positions"):
        Beats([1.0, 2.0], positions)
