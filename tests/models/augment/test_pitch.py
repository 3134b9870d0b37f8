"""A pitch shift changes pitch alone: by the cents asked for, in tones and chords, with length, level and time kept."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.augment import pitch
from models.augment.pitch import shift

RATE, SAMPLES = 22_050, 59_049
CENTS = torch.tensor([-700.0, -500, -300, -100, -37, 0, 53, 100, 300, 500, 700])
TONES = [[82.4], [110], [440], [1000], [3000]]
CHORDS = [[220, 277.18], [220, 329.63], [261.63, 311.13], [440, 554.37], [146.83, 349.23], [220, 277.18, 329.63]]


def notes(frequencies, harmonics=1, rate=RATE, samples=SAMPLES):
    """Notes of which the n-th harmonic has 1/n of the amplitude."""
    time = torch.arange(samples, dtype=torch.float64) / rate
    partials = [(f * n, 0.2 / n) for f in frequencies for n in range(1, harmonics + 1)]
    return sum(a * torch.sin(2 * math.pi * f * time + f) for f, a in partials).float()


def shifts(x, cents=CENTS, rate=RATE):
    return shift(x.expand(len(cents), -1).contiguous(), cents, rate, highest=700)


def spectrum(x, size=2**18):
    return torch.fft.rfft(x * torch.hann_window(x.shape[-1]), n=size).abs().square()


def error(x, frequencies, cents, rate=RATE):
    """The largest difference, in cents, of a note and the strongest frequency within a semitone of it."""
    power, off = spectrum(x), []
    size = 2 * (len(power) - 1)
    for frequency in frequencies:
        due = frequency * 2 ** (cents / 1200)
        low, high = (int(due * 2 ** (side / 12) * size / rate) for side in (-1, 1))
        found = (low + int(power[low:high].argmax())) * rate / size
        off.append(abs(1200 * math.log2(found / due)))
    return max(off)


def level(x):
    return 20 * x.std(-1).log10()


@pytest.mark.parametrize("frequencies", TONES + CHORDS, ids=str)
def test_every_note_is_within_10_cents(frequencies):
    x = notes(frequencies)
    for cents, y in zip(CENTS.tolist(), shifts(x), strict=True):
        assert error(y, frequencies, cents) < (2 if len(frequencies) == 1 else 10)
        assert float(level(y) - level(x)) == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("frequencies", [[82.4], [196], [440], [220, 277.18], [220, 277.18, 329.63]], ids=str)
@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_harmonics_and_other_rates(frequencies, rate):
    x = notes(frequencies, harmonics=6, rate=rate, samples=int(2.7 * rate))
    for cents, y in zip(CENTS.tolist(), shifts(x, rate=rate), strict=True):
        assert error(y, frequencies, cents, rate) < 10
        assert float(level(y) - level(x)) == pytest.approx(0, abs=0.3)


def test_nearly_all_random_intervals_are_within_10_cents():
    torch.manual_seed(0)
    roots, intervals = 110 * 4 ** torch.rand(60), torch.randint(3, 13, (60,))
    cents = torch.randint(-700, 701, (60,)).float()
    pairs = [(f, f * 2 ** (i / 12)) for f, i in zip(roots.tolist(), intervals.tolist(), strict=True)]
    out = shift(torch.stack([notes(pair, harmonics=4) for pair in pairs]), cents, RATE, highest=700)
    off = [error(y, pair, c) for pair, y, c in zip(pairs, out, cents.tolist(), strict=True)]
    assert sum(value > 10 for value in off) <= 3
    assert sorted(off)[30] < 1


def test_grains_join_without_clicks():
    """Nothing is heard of a tone but itself: 50 dB of quiet further than 100 Hz away."""
    for cents, y in zip(CENTS.tolist(), shifts(notes([440])), strict=True):
        power = spectrum(y)
        centre = 440 * 2 ** (cents / 1200) / RATE * 2**18
        near = (torch.arange(len(power)) - centre).abs() < 100 / RATE * 2**18
        assert 10 * torch.log10(power[~near].sum() / power.sum()) < -50


def test_sound_goes_on_to_both_ends():
    x = notes([440])
    for y in shifts(x):
        assert float(level(y[:200]) - level(x)) == pytest.approx(0, abs=1)
        assert float(level(y[-200:]) - level(x)) == pytest.approx(0, abs=1)


def test_what_would_be_above_half_the_rate_is_removed():
    x = notes([9000])
    up, down = shifts(x, torch.tensor([700.0, -700.0]))
    assert float(level(up) - level(x)) < -40
    assert float(level(down) - level(x)) == pytest.approx(0, abs=0.5)
    assert error(down, [9000], -700) < 1


def test_noise_keeps_its_level():
    torch.manual_seed(0)
    x = torch.nn.functional.avg_pool1d(torch.randn(len(CENTS), 1, SAMPLES), 5, 1, 2)[:, 0]
    assert float((level(shift(x, CENTS, RATE, highest=700)) - level(x)).abs().max()) < 1


def test_drums_stay_where_they_are():
    """Bursts of 40 ms that start and end at once are there, as sharp, within 25 ms."""
    torch.manual_seed(0)
    starts = list(range(4000, 54_000, 5000))
    x = torch.zeros(SAMPLES)
    for start in starts:
        x[start : start + 882] = 0.5 * torch.randn(882)
    for y in shifts(x):
        loud = torch.nonzero(y.abs() > 0.25)[:, 0]
        for start in starts:
            there = loud[(loud > start - 1500) & (loud < start + 2382)]
            assert len(there) > 100
            assert abs(int(there.min()) - start) < 0.025 * RATE
            assert abs(int(there.max()) - start - 882) < 0.025 * RATE


@settings(max_examples=15, deadline=None)
@given(
    samples=st.sampled_from([1, 2, 31, 700, 1500, 5000, 22_050]),
    batch=st.integers(1, 5),
    bounds=st.sampled_from([(-700.0, 700.0), (-2400.0, -500.0), (300.0, 2400.0), (0.0, 0.0)]),
    rate=st.sampled_from([8000, 22_050, 48_000]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    kind=st.sampled_from(["silence", "constant", "noise", "click"]),
)
def test_length_and_kind_are_kept_and_numbers_stay_numbers(samples, batch, bounds, rate, dtype, kind):
    x = {"constant": torch.ones, "noise": torch.randn}.get(kind, torch.zeros)(batch, samples)
    if kind == "click":
        x[:, samples // 2] = 1
    before = x.to(dtype)
    x = before.clone()
    y = pitch(x, rate, *bounds, p=1.0)
    assert torch.equal(x, before)
    assert y.shape == x.shape
    assert y.dtype == dtype
    assert y.isfinite().all()
    assert float(y.abs().max()) <= 1.5 * float(x.abs().max())
    if kind == "silence":
        assert not y.any()


def test_an_example_does_not_depend_on_the_others():
    torch.manual_seed(0)
    x, cents = torch.randn(11, 20_000), CENTS
    together = shift(x, cents, RATE, highest=700)
    loud = torch.cat((x[:5], 100 * torch.randn(6, 20_000)))
    assert torch.allclose(shift(loud, cents, RATE, highest=700)[:5], together[:5], atol=1e-5)
    assert torch.allclose(shift(x[3:4], cents[3:4], RATE, highest=700)[0], together[3], atol=1e-5)


def test_draws_are_those_of_the_seed_whole_cents_and_of_a_share(monkeypatch):
    seen = []
    monkeypatch.setitem(pitch.__globals__, "shift", lambda x, cents, *_: seen.append(cents) or -x)
    x = torch.ones(20_000, 1)
    torch.manual_seed(0)
    first = pitch(x, RATE)
    torch.manual_seed(0)
    assert torch.equal(first, pitch(x, RATE))
    assert torch.equal(seen[0], seen[1])
    assert sorted(seen[0].unique().tolist()) == list(range(-700, 701))
    assert float((first < 0).float().mean()) == pytest.approx(0.6, abs=0.02)


def test_what_cannot_be_drawn_is_refused_and_what_is_no_number_stays_where_it_is():
    for bounds in ((100.0, -100.0), (-700.0, 3000.0)):
        with pytest.raises(ValueError, match=r"pitch: low=.* and high=.*: expected cents from -2400 to 2400"):
            pitch(torch.zeros(0, 1), RATE, *bounds)
    x = torch.rand(3, 10_000)
    torch.manual_seed(0)
    whole = pitch(x, RATE, p=1.0)
    x[1, 5000] = math.nan
    torch.manual_seed(0)
    assert torch.allclose(pitch(x, RATE, p=1.0)[::2], whole[::2], atol=1e-6)
