"""Music of a known tempo, for tests: bursts of noise at equal distances."""

from __future__ import annotations

import numpy as np


def pulses(bpm: float, seconds: float, rate: int = 22_050, seed: int = 0) -> np.ndarray:
    """Bursts of 40 ms that die away, the first at once, over a floor of noise at -66 dB.

    Args:
        bpm: Bursts a minute.
        seconds: Length.
        rate: Hz.
        seed: Of the noise.

    Returns:
        `[samples]` float32.
    """
    rng = np.random.default_rng(seed)
    audio = 5e-4 * rng.standard_normal(round(seconds * rate))
    burst = np.exp(-np.arange(round(0.04 * rate)) / (0.01 * rate))
    for start in np.arange(0, seconds, 60 / bpm):
        place = slice(round(start * rate), round(start * rate) + len(burst))
        audio[place] += 0.3 * (burst * rng.standard_normal(len(burst)))[: len(audio[place])]
    return audio.astype(np.float32)
