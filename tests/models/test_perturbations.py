"""Perturbations of audio against the library, and against their own definition."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from models.perturbations import (
    COMPRESSORS,
    PERTURBATIONS,
    Compressor,
    add_noise,
    compress,
    measured_level,
    pitch_shift,
    time_stretch,
)

RATE = 16_000


def chord(seconds: float = 2.0) -> np.ndarray:
    """Three decaying tones, and a little noise."""
    times = np.arange(int(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * pitch * times) * np.exp(-(times % 0.5) * 4) for pitch in (220, 277, 330))
    return (0.2 * tones + 0.01 * np.random.default_rng(0).standard_normal(len(times))).astype(np.float32)


def tone(level: float, seconds: float = 4.0) -> np.ndarray:
    """Square wave of a level in dB, whose magnitude never changes."""
    return (
        10 ** (level / 20) * np.sign(np.sin(2 * np.pi * 100 * (np.arange(int(seconds * RATE)) + 0.5) / RATE))
    ).astype(np.float32)


@pytest.mark.parametrize("rate", [2**-0.5, 2**0.5])
def test_time_is_stretched_as_the_library_does(rate):
    audio = chord()
    ours, theirs = time_stretch(audio, rate), librosa.effects.time_stretch(audio.astype(np.float64), rate=rate)
    assert ours.dtype == np.float32
    assert len(ours) == len(theirs) == round(len(audio) / rate)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize("semitones", [-1, 1])
def test_the_pitch_is_moved_as_the_library_does(semitones):
    audio = chord()
    theirs = librosa.effects.pitch_shift(audio.astype(np.float64), sr=RATE, n_steps=semitones)
    ours = pitch_shift(audio, RATE, semitones)
    assert ours.shape == audio.shape
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize("samples", [1, 100, 2047])
def test_audio_shorter_than_a_frame(samples):
    audio = chord()[:samples]
    assert len(time_stretch(audio, 2**0.5)) == round(samples / 2**0.5)
    for kinds in PERTURBATIONS.values():
        for apply in kinds.values():
            assert np.isfinite(apply(audio, RATE, "a")).all()


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_steady_level_comes_out_on_the_curve(name):
    compressor = COMPRESSORS[name]
    middles = [tuple(np.mean(pair, axis=0)) for pair in zip(compressor.points, compressor.points[1:], strict=False)]
    for level, out in (*compressor.points[1:], *middles):
        if level < -75:
            continue
        steady = compress(tone(level, 14.0), RATE, compressor)[-RATE // 2 :]
        assert 20 * np.log10(np.abs(steady).mean()) == pytest.approx(out + compressor.gain, abs=0.2)


def test_below_and_above_the_curve_the_gain_is_that_of_its_ends():
    curve = Compressor(0.1, 0.1, ((-60, -50), (-10, -15)))
    np.testing.assert_allclose(curve.gains(np.array([-100.0, -60.0, -35.0, -10.0, 0.0])), [10, 10, 2.5, -5, -5])


def test_the_level_follows_within_its_time_constants():
    compressor = Compressor(0.1, 0.3, ((-90, -90), (0, 0)))
    silent = np.zeros(3 * RATE, np.float32)
    level = measured_level(np.concatenate([silent, np.full(RATE, 0.5, np.float32), silent]), RATE, compressor)
    assert level[int(0.3 * RATE)] == pytest.approx(np.exp(-1), abs=1e-3)  # from full scale
    assert level[int(3.1 * RATE)] == pytest.approx(0.5 * (1 - np.exp(-1)), abs=1e-3)
    assert level[int(4.3 * RATE)] == pytest.approx(0.5 * np.exp(-1), abs=1e-3)


def test_the_gain_is_there_before_the_sound():
    compressor = Compressor(0.001, 0.001, ((-90, -90), (-40, -40), (0, -20)), ahead=0.1)
    audio = np.concatenate([tone(-40, 1), tone(0, 1)])
    out = np.abs(compress(audio, RATE, compressor))
    assert out[int(0.95 * RATE)] < 0.2 * np.abs(audio[0])
    assert out[RATE] == pytest.approx(0.1, rel=0.01)


def test_what_is_over_full_scale_is_clipped():
    sudden = np.concatenate([tone(-60, 3), tone(0, 0.1)])
    out = compress(sudden, RATE, COMPRESSORS["radio"])
    assert np.abs(out).max() == 1


def test_noise_is_white_of_its_weight_and_the_same_for_a_name():
    audio = chord()
    noise = (add_noise(audio, 0.2, "a.mp3") - 0.8 * audio) / 0.2
    assert np.abs(noise).max() == pytest.approx(np.abs(audio).max(), rel=1e-4)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    lower, upper = np.split(spectrum[:16000], 2)
    assert lower.mean() == pytest.approx(upper.mean(), rel=0.1)
    np.testing.assert_array_equal(add_noise(audio, 0.2, "a.mp3"), add_noise(audio, 0.2, "a.mp3"))
    assert not np.array_equal(add_noise(audio, 0.2, "a.mp3"), add_noise(audio, 0.2, "b.mp3"))
    assert not add_noise(np.zeros(100, np.float32), 0.4, "a").any()


def test_the_strengths_are_those_of_the_paper():
    assert [len(kinds) for kinds in PERTURBATIONS.values()] == [2, 2, 4, 3]
    audio = chord()
    lengths = [len(apply(audio, RATE, "a")) / len(audio) for apply in PERTURBATIONS["time_stretch"].values()]
    np.testing.assert_allclose(lengths, [2**0.5, 2**-0.5], rtol=1e-3)
    for kind in ("pitch", "compression", "noise"):
        changed = [apply(0.05 * audio, RATE, "a") for apply in PERTURBATIONS[kind].values()]
        assert all(one.shape == audio.shape and one.dtype == np.float32 for one in changed)
        assert all(not np.allclose(one, other, atol=1e-5) for one in changed for other in changed if one is not other)
