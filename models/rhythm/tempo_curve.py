"""Tempo of beats, over a recording and over time, and how coherent the beats are."""

from __future__ import annotations

import numpy as np

DOUBLING = (0.75, 1.25)  # octaves between two intervals, one behind the other, that count as a jump of the tempo


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


def tempo_jumps(times: np.ndarray) -> int:
    """How often an interval is about twice or half as long as the one before."""
    octaves = np.abs(np.diff(np.log2(np.diff(times)))) if len(times) > 2 else np.zeros(0)
    return int(((octaves > DOUBLING[0]) & (octaves < DOUBLING[1])).sum())


def consecutive_downbeats(positions: np.ndarray) -> int:
    """How often a downbeat follows a downbeat with no beat between.

    Args:
        positions: Of beats in their bars, 1 for a downbeat.
    """
    downbeats = np.asarray(positions) == 1
    return int((downbeats[1:] & downbeats[:-1]).sum())
