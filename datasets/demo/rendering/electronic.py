"""Synthesizers and drum machines: zones as a soundfont has them, around waves that are computed.

So whatever plays a soundfont plays these too, with its envelopes, filters and loops.
"""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from scipy.signal import lfilter

from datasets.demo.soundfont import SETTINGS, Zone

RATE = 44100
CYCLE = 168  # samples of a looped wave: 262.5 Hz, near the middle C
ROOT = 60
TUNING = 12 * np.log2(261.6256 / (RATE / CYCLE))  # semitones that bring a cycle to the middle C
PERIODS = 8  # detuned voices beat within so many cycles
HIGHEST_PARTIAL = 60
EVERYTHING = (0, 127)
LOUD = 11000  # of 32767, of a wave's peak: chords of several notes stay below full scale


class Synthesizer:
    """A patch for pitched parts and a drum machine, both drawn from a seed.

    Attributes:
        seed: The same seed sounds the same.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def zones(self, program: int, drum: bool, key: int, velocity: float) -> list[Zone]:
        """What a note plays; `program` picks among the patches of the seed."""
        return [_drum(self.seed, key) if drum else _patch(self.seed, program)]


def _settings(**changed: int) -> dict[str, int]:
    return {name: setting.default for name, setting in SETTINGS.items()} | changed


def _timecents(seconds: float) -> int:
    return round(1200 * np.log2(seconds))


@lru_cache(maxsize=256)
def _patch(seed: int, program: int) -> Zone:
    """A synthesizer's sound: a bright wave, a low-pass that closes, an amplifier that plucks or holds."""
    rng = random.Random(f"ostinato/patch/{seed}/{program}")
    partials = np.arange(1, HIGHEST_PARTIAL + 1)
    shape = rng.choice(("saw", "saw", "square", "pulse", "triangle", "organ"))
    if shape == "organ":
        amplitudes = np.zeros(HIGHEST_PARTIAL)
        amplitudes[[0, 1, 2, 3, 5, 7]] = [rng.random() for _ in range(6)]
    else:
        width = {"square": 0.5, "pulse": rng.uniform(0.1, 0.4)}.get(shape, 0.0)
        amplitudes = np.sin(np.pi * partials * width) / partials if width else 1.0 / partials
        amplitudes = np.where(partials % 2 == 1, 1.0 / partials**2, 0) if shape == "triangle" else amplitudes
    phases = np.array([rng.uniform(0, 2 * np.pi) for _ in partials]) if rng.random() < 0.3 else np.zeros(len(partials))
    turns = 2 * np.pi * np.arange(CYCLE * PERIODS) / CYCLE
    wave = (amplitudes[:, None] * np.sin(partials[:, None] * turns + phases[:, None])).sum(0)
    plucked = rng.random() < 0.5
    changed = {
        "loops": 1,
        "attack": _timecents(rng.uniform(0.001, 0.01) if plucked else rng.choice((0.003, 0.02, 0.08))),
        "decay": _timecents(rng.uniform(0.2, 1.5) if plucked else 3.0),
        "sustain": rng.choice((200, 1000)) if plucked else rng.choice((0, 30, 60)),
        "release": _timecents(rng.uniform(0.1, 0.8)),
        "cutoff": rng.randint(6500, 11500),
        "resonance": rng.choice((0, 0, 60, 150)),
        "envelope_to_cutoff": rng.choice((0, 1200, 2400, 3600)),
        "modulation_decay": _timecents(rng.uniform(0.08, 0.8)),
        "modulation_sustain": 1000,
        "vibrato_to_pitch": rng.choice((0, 0, 0, 15)),
        "vibrato_delay": _timecents(0.3),
        "vibrato_rate": -400,
    }
    samples = _full(wave)
    return Zone(EVERYTHING, EVERYTHING, samples, RATE, ROOT, float(TUNING), (0, len(samples)), _settings(**changed))


@lru_cache(maxsize=1024)
def _drum(seed: int, key: int) -> Zone:
    """A sound of a drum machine: sweeps for bass drum and toms, noise for the rest."""
    rng = random.Random(f"ostinato/machine/{seed}/{key}")
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(round(1.2 * RATE)).astype(np.float32)
    if key in (35, 36):
        sound = _sweep(rng.uniform(120, 400), rng.uniform(40, 65), rng.uniform(0.008, 0.05), rng.uniform(0.12, 0.5))
        sound[:200] += 0.3 * rng.random() * noise[:200] * np.linspace(1, 0, 200)
    elif key in (38, 40):
        sound = 0.7 * _sweep(rng.uniform(220, 400), rng.uniform(140, 220), 0.02, rng.uniform(0.05, 0.15))
        sound = _sum(sound, rng.uniform(0.5, 1.2) * _burst(noise, rng.uniform(0.08, 0.25), rng.uniform(0.0, 0.8)))
    elif key == 39:
        claps = [np.concatenate((np.zeros(round(late * RATE)), _burst(noise, 0.012, 0.7))) for late in (0, 0.01, 0.02)]
        sound = _sum(*claps, np.concatenate((np.zeros(round(0.03 * RATE)), _burst(noise, rng.uniform(0.08, 0.2), 0.7))))
    elif key in (41, 43, 45, 47, 48, 50):
        low = 60 * 1.12 ** (key - 41)
        sound = _sweep(low * rng.uniform(1.5, 2.5), low, 0.04, rng.uniform(0.15, 0.4))
    elif key in (46, 49, 51, 52, 53, 55, 57, 59):
        sound = _burst(noise, rng.uniform(0.2, 0.7), 0.95)
    elif key in (42, 44, 54, 69, 70):
        sound = _burst(noise, rng.uniform(0.02, 0.09), 0.95)
    else:
        pitch = rng.uniform(300, 1800)
        sound = _sweep(pitch * 1.1, pitch, 0.01, rng.uniform(0.03, 0.12))
    changed = {"release": _timecents(0.3), "scale_tuning": 0, "attenuation": 0}
    return Zone(EVERYTHING, EVERYTHING, _full(sound), RATE, ROOT, 0.0, None, _settings(**changed))


def _sweep(start: float, end: float, fall: float, decay: float) -> np.ndarray:
    """A sine that falls from one frequency (Hz) to another and dies away."""
    times = np.arange(round(min(1.2, 6 * decay) * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(end + (start - end) * np.exp(-times / fall)) / RATE
    return np.sin(phase) * np.exp(-times / decay)


def _burst(noise: np.ndarray, decay: float, bright: float) -> np.ndarray:
    """Noise that dies away; `bright` from 0 to 1 takes its low frequencies away."""
    length = round(min(1.2, 6 * decay) * RATE)
    filtered = lfilter([1.0, -bright], [1.0], noise[:length])
    return filtered * np.exp(-np.arange(length) / (decay * RATE))


def _sum(*sounds: np.ndarray) -> np.ndarray:
    total = np.zeros(max(map(len, sounds)))
    for sound in sounds:
        total[: len(sound)] += sound
    return total


def _full(sound: np.ndarray) -> np.ndarray:
    return np.round(sound * (LOUD / np.abs(sound).max())).astype(np.int16)
