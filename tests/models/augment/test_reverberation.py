"""Reverberation beside Freeverb written sample by sample in float64, with the coefficients as SoX computes them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.augment import freeverb, reverberation
from models.augment.reverberation import by_recursion, by_spectrum, reverb, reverberated

RATE = 22_050
COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
ALLPASSES = (225, 341, 441, 556)


def sox_reverb(x: np.ndarray, reverberance: float, damping: float, room: float, rate: int) -> np.ndarray:
    """The wet signal, the mean of both channels."""
    slope = -1 / math.log(1 - 0.3)
    offset = 100 / (math.log(1 - 0.98) * slope + 1)
    feedback = 1 - math.exp((reverberance - offset) / (slope * offset))
    damp, scale = damping / 100 * 0.3 + 0.2, room / 100 * 0.9 + 0.1
    wet = np.zeros(len(x))
    for channel in range(2):
        sign, signal = channel, np.zeros(len(x))
        for length in COMBS:
            line, low = np.zeros(int(scale * rate / 44_100 * (length + 12 * sign) + 0.5)), 0.0
            sign = -sign
            for n, value in enumerate(x):
                place = n % len(line)
                out = line[place]
                low = out + (low - out) * damp
                line[place] = value + low * feedback
                signal[n] += out
        for length in ALLPASSES:
            line = np.zeros(int(rate / 44_100 * (length + 12 * sign) + 0.5))
            sign = -sign
            for n, value in enumerate(signal):
                place = n % len(line)
                out = line[place]
                line[place] = value + out * 0.5
                signal[n] = out - value
        wet += 0.5 * 0.015 * signal
    return wet


def filters(*percent: list[float], rate: int = RATE) -> tuple[torch.Tensor, ...]:
    reverberance, damping, room = (torch.tensor(values, dtype=torch.float64) for values in percent)
    return (
        freeverb.comb_delays(room, rate),
        freeverb.allpass_delays(rate),
        freeverb.comb_feedback(reverberance).float(),
        freeverb.comb_damping(damping).float(),
    )


@pytest.mark.parametrize(("way", "error"), [(by_recursion, 1e-6), (by_spectrum, 2e-5)])
def test_both_ways_are_freeverb(way, error):
    torch.manual_seed(0)
    x = torch.zeros(4, 5000)
    x[0, 0] = 1
    x[1:] = torch.rand(3, 5000) - 0.5
    percent = [50.0, 0.0, 99.0, 100.0], [50.0, 0.0, 7.0, 100.0], [100.0, 0.0, 33.0, 71.0]
    wet = way(x, *filters(*percent))
    for row, values in enumerate(zip(*percent, strict=True)):
        expected = sox_reverb(x[row].double().numpy(), *values, RATE)
        assert np.abs(wet[row].numpy() - expected).max() < error * np.abs(expected).max()


def test_both_ways_agree_over_a_whole_crop_in_the_longest_reverberation():
    torch.manual_seed(0)
    x = torch.rand(2, 59_049) - 0.5
    coefficients = filters([99.0, 0.0], [0.0, 0.0], [99.0, 0.0])
    one, other = by_recursion(x, *coefficients), by_spectrum(x, *coefficients)
    assert (one - other).abs().max() < 3e-5 * one.abs().max()


@settings(max_examples=15)
@given(*[st.integers(0, 100)] * 3, st.sampled_from([8_000, 16_000, 22_050, 44_100]))
def test_any_room_at_any_rate(reverberance, damping, room, rate):
    x = np.random.default_rng(0).uniform(-0.1, 0.1, 1500).astype(np.float32)
    percent = [torch.tensor([float(value)]) for value in (reverberance, damping, room)]
    changed = reverberated(torch.from_numpy(x)[None], *percent, rate)[0].numpy()
    assert np.abs(changed - x - sox_reverb(x, reverberance, damping, room, rate)).max() < 1e-6


def test_more_reverberance_lasts_longer_and_more_damping_is_duller():
    impulse = torch.zeros(3, 40_000)
    impulse[:, 0] = 1
    plain, long, dull = by_recursion(impulse, *filters([30.0, 90.0, 90.0], [0.0, 0.0, 100.0], [50.0, 50.0, 50.0]))
    assert long[20_000:].square().sum() > 100 * plain[20_000:].square().sum()
    brightness = [tail.diff().square().sum() / tail.square().sum() for tail in (long[9000:], dull[9000:])]
    assert brightness[1] < 0.5 * brightness[0]


def test_loud_audio_is_clipped_and_silence_stays_silence():
    percent = [torch.full((2,), 99.0)] * 3
    changed = reverberated(torch.stack([torch.ones(30_000), torch.zeros(30_000)]), *percent, RATE)
    assert changed[0].max() == 1
    assert not changed[1].any()


def test_threads_change_nothing():
    x, coefficients = torch.randn(5, 3000), filters(*[[10.0, 30.0, 50.0, 70.0, 90.0]] * 3)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 3, 8):
            torch.set_num_threads(count)
            results.append(by_recursion(x, *coefficients))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert torch.equal(by_recursion(x[3:4], *filters([70.0], [70.0], [70.0])), results[0][3:4])


def test_percent_over_many_draws(monkeypatch):
    seen = []
    monkeypatch.setattr(reverberation, "reverberated", lambda x, *values: seen.append(values) or x)
    torch.manual_seed(0)
    reverb(torch.zeros(10_000, 1), RATE)
    *percent, rate = seen[0]
    assert rate == RATE
    assert len(percent[0]) == pytest.approx(6000, abs=200)
    for drawn in percent:
        assert drawn.unique().tolist() == list(range(100))
    assert not torch.equal(percent[0], percent[1])
    reverb(torch.zeros(10_000, 1), RATE, low=1, high=100, p=1.0)
    assert seen[1][0].unique().tolist() == list(range(1, 101))
