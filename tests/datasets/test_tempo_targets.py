"""Tempi that move with the speed of a crop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.tempo_targets import TempoTargets


@given(tempo=st.floats(15, 400), low=st.floats(0.5, 1), high=st.floats(1, 2), seed=st.integers(0, 2**31))
def test_a_change_of_speed_stays_among_the_tempi(tempo, low, high, seed):
    targets = TempoTargets(np.array([tempo], np.float32), 30, 285)
    rate = targets.draw_rate(0, low, high, np.random.default_rng(seed))
    assert low - 1e-9 <= rate <= high + 1e-9
    moved = targets.crop(0, 0, 10, rate)["target"]
    assert moved.dtype == np.float32
    assert float(moved) == pytest.approx(tempo * rate, rel=1e-5)
    if 30 <= tempo <= 285:
        assert 30 * (1 - 1e-6) <= moved <= 285 * (1 + 1e-6)


def test_a_ratio_is_as_likely_as_its_inverse():
    targets, rng = TempoTargets(np.array([120.0]), 30, 285), np.random.default_rng(0)
    rates = np.array([targets.draw_rate(0, 0.8, 1.25, rng) for _ in range(2000)])
    assert np.mean(rates > 1) == pytest.approx(0.5, abs=0.04)
    assert np.std(rates) > 0.1


def test_a_tempo_that_no_speed_brings_among_them_is_left_alone():
    targets = TempoTargets(np.array([12.0, 320.0]), 30, 285)
    rng = np.random.default_rng(0)
    assert targets.draw_rate(0, 0.8, 1.25, rng) == 1
    assert 0.8 <= targets.draw_rate(1, 0.8, 1.25, rng) <= 285 / 320


def test_as_it_is():
    targets = TempoTargets(np.array([120.0], np.float32), 30, 285)
    assert targets.crop(0, 3, 7)["target"] == targets.whole(0) == 120
