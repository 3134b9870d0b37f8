"""Tempi are drawn alike: by bins, or spread over all tempi by speeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.targets import ClipTargets
from datasets.tempo_balance import SpreadTargets, SpreadTempi, bin_weights


def test_ranges_of_ten_bpm_weigh_the_same_but_for_rare_ones():
    tempi = np.array([101.0] * 20 + [125.0] * 5 + [64.0, 199.9, 200.0])
    weights = bin_weights(tempi)
    shares = [weights[tempi == bpm].sum() for bpm in (101.0, 125.0, 64.0, 199.9, 200.0)]
    assert shares == pytest.approx([1, 1, 0.2, 0.2, 0.2])


def test_tempi_that_can_be_reached_are_uniform_in_their_logarithm():
    rng = np.random.default_rng(0)
    tempi = np.exp(rng.normal(np.log(118), 0.3, 3000))
    even = SpreadTempi(tempi, 0.8, 1.25)
    drawn = rng.choice(len(tempi), 20_000, p=even.weights / even.weights.sum())
    played = np.log([tempi[track] * even.rate(track, rng) for track in drawn])
    counts, _ = np.histogram(played, np.linspace(np.log(40), np.log(250), 11))
    assert counts.sum() == 20_000
    assert abs(counts / 2000 - 1).max() < 0.1
    assert np.histogram(np.log(tempi[(tempi > 40) & (tempi < 250)]), 10)[0].max() > 500


def test_tempi_can_be_as_common_as_in_music_at_large():
    rng = np.random.default_rng(0)
    tempi = np.exp(rng.uniform(np.log(45), np.log(220), 3000))
    typical = SpreadTempi(tempi, 0.8, 1.6, typical=True)
    drawn = rng.choice(len(tempi), 20_000, p=typical.weights / typical.weights.sum())
    played = np.log2([tempi[track] * typical.rate(track, rng) for track in drawn])
    assert 2 ** played.mean() == pytest.approx(113, abs=2)
    assert played.std() == pytest.approx(0.45, abs=0.03)  # 0.47 without its ends beyond 40 and 250 BPM


@given(tempi=st.lists(st.floats(20, 400), min_size=1, max_size=30), seed=st.integers(0, 9))
def test_speeds_stay_within_their_bounds_and_tempi_too(tempi, seed):
    even = SpreadTempi(np.array(tempi), 0.8, 1.25)
    rng = np.random.default_rng(seed)
    for track, bpm in enumerate(tempi):
        assert even.weights[track] > 0 or not 41 < bpm < 240
        if even.weights[track] > 0:
            rate = even.rate(track, rng)
            assert 0.8 <= rate <= 1.25
            assert 40 * (1 - 1e-9) <= bpm * rate <= 250 * (1 + 1e-9)


def test_targets_are_what_they_were_and_the_speed_is_that_of_the_tempo():
    tempi = np.array([50.0, 120.0], np.float32)
    targets = SpreadTargets(ClipTargets(tempi), SpreadTempi(tempi, 0.8, 1.25))
    assert len(targets) == 2
    assert targets.whole(1) == targets.crop(1, 0.0, 10, 1.1)["target"] == 120
    assert 0.8 <= targets.draw_rate(0, 0.5, 2.0, np.random.default_rng(0)) <= 1.25
