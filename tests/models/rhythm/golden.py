"""Activations whose likeliest paths are known from two implementations that have nothing in common with ours."""

from __future__ import annotations

import numpy as np


def pulses(frames: int, floor: float, height: float, at) -> np.ndarray:
    values = np.full(frames, floor)
    values[np.asarray(at)] = height
    return values


def bars(period: int, bar: int, frames: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Beats that are no downbeats, and downbeats."""
    other, down = pulses(frames, 0.005, 0.85, range(0, frames, period)), np.full(frames, 0.005)
    other[::bar], down[::bar] = 0.05, 0.85
    return other, down


def tempo_change() -> np.ndarray:
    times = np.concatenate([np.arange(20) * 0.5, 10 + np.arange(20) * 0.6])
    return pulses(1100, 0.01, 0.9, np.rint(50 * times).astype(int))


S1 = pulses(200, 1e-4, 1 - 1e-6, [0, 49, 99, 149, 199])
S2 = pulses(1000, 0.01, 0.9, range(0, 1000, 25))
S3 = bars(25, 100)
S4 = bars(20, 60)
S5 = tempo_change()
