"""Tempograms and the tempo of an envelope against librosa, the images and the networks that look at them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models import tempogram as module
from models.frontends import build
from models.rhythm.envelope_tempo import envelope_tempo
from models.tempogram import BAND, Tempogram, tempogram
from tests.models.pulses import pulses
from tests.peers import peer

RATE = 22_050 / 512


def envelope(bpm: float, seconds: float) -> torch.Tensor:
    return build("onset")(torch.from_numpy(pulses(bpm, seconds)))


@pytest.mark.parametrize(("bpm", "seconds"), [(113.0, 11.888), (187.0, 30.0), (70.0, 3.0)])
def test_it_is_that_of_librosa(bpm, seconds):
    curve = envelope(bpm, seconds)
    expected = peer("librosa").feature.tempogram(onset_envelope=curve.numpy(), sr=22_050, hop_length=512)
    found = tempogram(curve)
    assert found.shape == (384, len(curve))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


@given(frames=st.integers(1, 900), window=st.sampled_from([2, 64, 384]), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_laws_of_autocorrelations(frames, window, seed):
    """Lag 0 is 1, no lag is larger, gain does not count, an example does not depend on the others."""
    curve = torch.rand(2, frames, generator=torch.Generator().manual_seed(seed)) + 1e-3
    made = tempogram(curve, window)
    assert made.shape == (2, window, frames)
    assert made.abs().max() <= 1 + 1e-5
    torch.testing.assert_close(made[:, 0], torch.ones(2, frames))
    torch.testing.assert_close(tempogram(7 * curve, window), made, rtol=0, atol=2e-6)
    torch.testing.assert_close(tempogram(curve[1], window), made[1], rtol=0, atol=2e-6)


def test_silence_is_zero_and_a_band_is_a_part():
    assert not tempogram(torch.zeros(2, 50)).any()
    curve = envelope(120.0, 5.0)
    torch.testing.assert_close(Tempogram(lags=BAND)(curve), tempogram(curve)[5:129])
    assert Tempogram(lags=BAND).bins == 124
    with pytest.raises(ValueError, match="an even window"):
        tempogram(curve, 383)
    with pytest.raises(ValueError, match="at least one frame"):
        tempogram(curve[:0])


def test_long_recordings_piece_by_piece_and_products_give_the_same(monkeypatch):
    curve = envelope(120.0, 8.0)[None]
    whole = tempogram(curve)
    monkeypatch.setattr(module, "PIECE", 100)
    torch.testing.assert_close(tempogram(curve), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(Tempogram().products(curve), whole, rtol=0, atol=2e-6)
    torch.testing.assert_close(Tempogram(lags=BAND).products(curve), whole[:, 5:129], rtol=0, atol=2e-6)


def test_its_gradient_is_finite_where_there_is_silence():
    curve = torch.cat([torch.zeros(500), torch.rand(100)]).requires_grad_()
    tempogram(curve)[20:60].sum().backward()
    assert curve.grad.isfinite().all()


@pytest.mark.parametrize("bpm", [65.0, 92.0, 127.0, 171.0])
@pytest.mark.parametrize("seconds", [4.0, 20.0])
def test_the_tempo_of_an_envelope_is_that_of_librosa(bpm, seconds):
    curve = envelope(bpm, seconds)
    (expected,) = peer("librosa").feature.tempo(onset_envelope=curve.numpy(), sr=22_050)
    assert float(envelope_tempo(curve, RATE)) == pytest.approx(float(expected), rel=1e-9)


@example(bpm=97.5)  # the top lies between two lags, of which the prior takes the lower one
@given(bpm=st.floats(75, 170))
@settings(max_examples=12, deadline=None)
def test_between_lags_it_is_within_a_per_cent_where_a_lag_alone_may_miss_by_three(bpm):
    curve = envelope(bpm, 14.0)
    grid, between = (float(envelope_tempo(curve, RATE, interpolated=one)) for one in (False, True))
    octave = 2.0 ** round(math.log2(between / bpm))
    assert between / octave == pytest.approx(bpm, rel=0.01)
    assert grid / octave == pytest.approx(bpm, rel=0.035)


def test_a_batch_has_one_tempo_each_and_silence_none():
    curves = torch.stack([envelope(90.0, 9.0), envelope(150.0, 9.0), torch.zeros(388)])
    found = envelope_tempo(curves, RATE)
    assert found[:2].tolist() == [float(envelope_tempo(curve, RATE)) for curve in curves[:2]]
    assert found[2].isnan()
