"""Weights of a loss taken out of probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from models.losses.beats import shift_tolerant
from models.rhythm.calibration import calibrated
from models.rhythm.decoding import Decoding, decode

RATE = 50.0
WEIGHTS = (23.0, 98.0)  # of a loss that tolerates 60 ms, on a corpus of rendered music
USUAL = Decoding("dbn", alternatives=False)


def curves(intervals: int, beats_a_bar: int, beat: float, downbeat: float, other: float, bars: int = 12) -> np.ndarray:
    """Activations with a slope beside each beat; `other` is that of a downbeat where there is none."""
    out = np.full((intervals * beats_a_bar * bars, 2), 0.05)
    for number, frame in enumerate(range(2, len(out) - 2, intervals)):
        height = np.array([beat, other if number % beats_a_bar else downbeat])
        for step, part in ((-1, 0.4), (0, 1.0), (1, 0.4)):
            out[frame + step] = np.maximum(out[frame + step], expit(logit(height) - (1 - part) * 3))
    return out


@pytest.mark.parametrize("weight", [1.0, 5.0, 23.0])
def test_the_weight_of_a_loss_without_tolerance_is_taken_out(weight):
    """The constant that a weighted loss likes best, calibrated, is the share of the positives."""
    targets = torch.zeros(1, 400, 1)
    targets[:, ::8] = 1
    constant = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([constant], max_iter=50)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = shift_tolerant(constant.expand(1, 400, 1), targets, None, weight)
        value.backward()
        return value

    optimizer.step(loss)
    learned = torch.sigmoid(constant.detach()).expand(3, 1).numpy()
    assert calibrated(learned, [weight]) == pytest.approx(1 / 8, rel=1e-3)


def test_a_weight_of_one_changes_no_beat():
    beat = np.linspace(0.01, 0.99, 50)[:, None]
    assert calibrated(beat, [1.0]) == pytest.approx(beat)
    assert calibrated(beat, [7.0], reach=3) == pytest.approx(beat)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(1, 200),
    st.integers(0, 6),
    st.floats(0.05, 0.95),
)
def test_a_downbeat_is_a_beat(rows, weight, reach, share):
    found = calibrated(np.array(rows), [weight, weight], reach, share)
    assert found.shape == (len(rows), 2)
    assert (found >= 0).all()
    assert (found[:, 1] <= found[:, 0]).all()
    assert (found[:, 0] <= 1).all()


def test_what_is_no_number_stays_none():
    activations = np.full((9, 2), 0.5)
    activations[2, 0] = activations[6, 1] = np.nan
    found = calibrated(activations, WEIGHTS, 3, 0.3)
    assert np.isnan(found[2, 0])
    assert np.isnan(found[6, 1])


@pytest.mark.parametrize("between", [0.3, 0.4])
def test_what_is_half_heard_between_the_beats_does_not_double_the_tempo(between):
    slow = curves(40, 4, 0.9, 0.85, 0.7)
    slow[21::40, 0] = slow[23::40, 0] = 0.15
    slow[22::40, 0] = between
    assert decode(slow, RATE, USUAL).tempo == pytest.approx(150, rel=0.03)
    assert decode(calibrated(slow, WEIGHTS, 3, 0.29), RATE, USUAL).tempo == pytest.approx(75, rel=0.03)


def test_downbeats_heard_on_all_beats_do_not_shorten_bars():
    music = curves(25, 4, 0.95, 0.93, 0.9)
    assert decode(music, RATE, USUAL).metre == 3
    assert decode(calibrated(music, WEIGHTS, 3, 0.29), RATE, USUAL).metre == 4


@pytest.mark.parametrize("beats", [2, 3, 4])
def test_bars_are_told_apart(beats):
    found = decode(
        calibrated(curves(25, beats, 0.95, 0.93, 0.6), WEIGHTS, 3, 0.29),
        RATE,
        Decoding("dbn", bars=[2, 3, 4], alternatives=False),
    )
    assert found.metre == beats
