"""When a network that gives something over time gives it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class TimeGrid:
    """Steps of a network over the frames of its front end, which are centred on multiples of their distance.

    Step u is made of the frames `pool * u` to `pool * u + pool - 1` and stands at their centre; frames that are left at
    the end make none.

    Attributes:
        frame_rate: Frames a second.
        pool: Frames of a step.
        margin: Frames at both ends of a window that are taken from its neighbours where there are some.
    """

    frame_rate: float
    pool: int = 1
    margin: int = 0

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.frame_rate / self.pool

    @property
    def offset(self) -> float:
        """Time of the first step, seconds."""
        return (self.pool - 1) / 2 / self.frame_rate

    def steps(self, frames: int) -> int:
        """Steps of so many frames."""
        return frames // self.pool

    def times(self, steps: int) -> np.ndarray:
        """Times of the first steps, seconds, float64 `[steps]`."""
        return self.offset + np.arange(steps) / self.rate

    def nearest(self, times: np.ndarray) -> np.ndarray:
        """The step nearest to each time, int64; below 0 before the first."""
        return np.rint((np.asarray(times, np.float64) - self.offset) * self.rate).astype(np.int64)
