"""Beats of a recording: their times, and the position of each in its bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DOWNBEAT = 1
OUTSIDE = 0  # the position of a beat that belongs to no bar, or whose place in its bar is not known


@dataclass(frozen=True, eq=False, slots=True)
class Beats:
    """Annotated or estimated beats.

    Attributes:
        times: Seconds, float64 `[beats]`, strictly ascending, none below 0.
        positions: In the bar, counted from 1, 0 where it is not known; int64 `[beats]`. None: nobody said anything of
            bars, so that nothing is known of downbeats.

    Raises:
        ValueError: Times or positions are not as above.
    """

    times: np.ndarray
    positions: np.ndarray | None = None

    def __post_init__(self) -> None:
        times = np.asarray(self.times, np.float64)
        if times.ndim != 1 or not np.isfinite(times).all():
            raise ValueError(f"times of shape {list(times.shape)}: expected finite seconds [beats]")
        if len(times) and (times[0] < 0 or (np.diff(times) <= 0).any()):
            raise ValueError("times of beats: expected to ascend strictly from 0 or later")
        object.__setattr__(self, "times", times)
        if self.positions is not None:
            positions = np.asarray(self.positions, np.int64)
            if positions.shape != times.shape or (positions < 0).any():
                raise ValueError(f"positions of shape {list(positions.shape)}: expected one a beat, none below 0")
            object.__setattr__(self, "positions", positions)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def has_downbeats(self) -> bool:
        """Whether it is known which beats are downbeats."""
        return self.positions is not None

    @property
    def downbeats(self) -> np.ndarray:
        """Times of the downbeats, seconds; empty where nobody said which beats are."""
        return self.times[:0] if self.positions is None else self.times[self.positions == DOWNBEAT]

    @property
    def tempo(self) -> float | None:
        """60 over the median interval, BPM; None of fewer than two beats."""
        return 60.0 / float(np.median(np.diff(self.times))) if len(self) > 1 else None

    def between(self, start: float, end: float) -> Beats:
        """Those from `start` on and before `end`, seconds, times counted as before."""
        inside = (self.times >= start) & (self.times < end)
        return Beats(self.times[inside], None if self.positions is None else self.positions[inside])

    def until(self, end: float) -> Beats:
        """Those up to `end`, seconds, and at it."""
        count = int(np.searchsorted(self.times, end, side="right"))
        return Beats(self.times[:count], None if self.positions is None else self.positions[:count])


def bar_positions(downbeats: np.ndarray) -> np.ndarray:
    """Positions in the bar of beats of which it is known whether they are downbeats, by counting.

    A pick-up counts up to the end of a bar as long as the first whole one; 0 where that is shorter, or there is none.

    Args:
        downbeats: bool `[beats]`.

    Returns:
        int64 `[beats]`.
    """
    beats, places = np.arange(len(downbeats)), np.flatnonzero(downbeats)
    if not len(places):
        return np.full(len(downbeats), OUTSIDE, np.int64)
    last = places[np.searchsorted(places, beats, side="right") - 1]
    positions = beats - last + 1
    pick_up = int(places[0])
    length = int(places[1] - places[0]) if len(places) > 1 else 0
    positions[:pick_up] = length - pick_up + 1 + beats[:pick_up] if length > pick_up else OUTSIDE
    return positions.astype(np.int64)
