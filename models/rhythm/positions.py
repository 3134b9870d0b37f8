"""Positions of beats in their bars."""

from __future__ import annotations

import numpy as np


def count(beats: int, downbeats: np.ndarray) -> np.ndarray:
    """Count from every downbeat on.

    The beats before the first downbeat are a pick-up if they are fewer than those of the first full bar: they count up
    to its end. Otherwise nobody knows, and their position is 0.

    Args:
        beats: Their number.
        downbeats: Numbers of the beats that are downbeats, ascending.

    Returns:
        Positions from 1, int64 `[beats]`.
    """
    positions = np.zeros(beats, np.int64)
    if not len(downbeats):
        return positions
    pick_up = int(downbeats[0])
    numbers = np.arange(pick_up, beats)
    positions[pick_up:] = numbers - downbeats[np.searchsorted(downbeats, numbers, side="right") - 1] + 1
    if len(downbeats) > 1 and pick_up < (bar := int(downbeats[1]) - pick_up):
        positions[:pick_up] = np.arange(bar - pick_up, bar) + 1
    return positions


def metre(positions: np.ndarray) -> int | None:
    """Beats of the commonest bar, the shortest of those equally common; None without two downbeats."""
    lengths = np.diff(np.flatnonzero(positions == 1))
    return int(np.bincount(lengths).argmax()) if len(lengths) else None
