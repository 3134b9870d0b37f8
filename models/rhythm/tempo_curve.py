"""Tempo of beats, over a recording and over time."""

from __future__ import annotations

import numpy as np


def tempo(times: np.ndarray) -> float | None:
    """60 over the median interval, BPM; None of fewer than two beats.

    Args:
        times: Of beats, seconds, strictly ascending.
    """
    return 60.0 / float(np.median(np.diff(times))) if len(times) > 1 else None


def tempo_curve(times: np.ndarray, window: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """Tempo around each interval.

    Args:
        times: Of beats, seconds, strictly ascending.
        window: Seconds; the tempo is that of the median of the intervals whose middles lie in it.

    Returns:
        Middles of the intervals, seconds, and the tempo there, BPM; float64 `[beats - 1]` each, empty of fewer than two
        beats.
    """
    times = np.asarray(times, np.float64)
    if len(times) < 2:
        return np.zeros(0), np.zeros(0)
    intervals, middles = np.diff(times), (times[1:] + times[:-1]) / 2
    starts = np.searchsorted(middles, middles - window / 2)
    ends = np.searchsorted(middles, middles + window / 2, side="right")
    medians = [np.median(intervals[start:end]) for start, end in zip(starts, ends, strict=True)]
    return middles, 60.0 / np.array(medians)
