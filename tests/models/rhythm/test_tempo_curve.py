"""Tempo of beats."""

from __future__ import annotations

import numpy as np
import pytest

from models.rhythm.tempo_curve import tempo, tempo_curve


def test_the_median_interval_ignores_a_missing_beat():
    times = np.delete(np.arange(20) * 0.5, 7)
    assert tempo(times) == pytest.approx(120)
    assert tempo(times[:1]) is None
    assert tempo(np.zeros(0)) is None


def test_the_curve_follows_a_change_of_tempo():
    times = np.concatenate([np.arange(40) * 0.5, 20 + np.arange(40) * 0.4])
    middles, bpm = tempo_curve(times)
    assert len(middles) == len(bpm) == len(times) - 1
    np.testing.assert_allclose(bpm[middles < 15], 120)
    np.testing.assert_allclose(bpm[middles > 25], 150)
    assert [len(column) for column in tempo_curve(times[:1])] == [0, 0]
