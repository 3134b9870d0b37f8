"""Windows of a network over time laid side by side."""

from __future__ import annotations

import numpy as np


def side_by_side(windows: np.ndarray, places: np.ndarray, steps: int | None = None, margin: int = 0) -> np.ndarray:
    """One curve of the overlapping windows of a track.

    Where several windows have a step, the earliest of those counts for which it is no margin, else the earliest.

    Args:
        windows: `[windows, steps of a window, ...]`.
        places: Step of the track at which each window begins; below 0 where padding comes before the track.
        steps: Of the track; None: to the end of the last window.
        margin: Steps at both ends of a window that a neighbour gives better; the first and the last window have none
            where the track begins and ends.

    Returns:
        `[steps, ...]`, 0 where there is no window.
    """
    length = windows.shape[1]
    if steps is None:
        steps = max(0, int(np.max(places)) + length)
    joined = np.zeros((steps, *windows.shape[2:]), windows.dtype)
    order = np.argsort(places, kind="stable")
    for cut in dict.fromkeys((0, min(margin, (length - 1) // 2))):
        for number in order[::-1]:
            begin, end = cut * (number != order[0]), length - cut * (number != order[-1])
            place = int(places[number])
            first, last = max(0, place + begin), min(steps, place + end)
            if first < last:
                joined[first:last] = windows[number, first - place : last - place]
    return joined
