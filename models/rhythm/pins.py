"""Beats that are known beforehand: every decoder keeps to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.rhythm.observations import IMPOSSIBLE, Evidence
from models.rhythm.options import Decoding


@dataclass(frozen=True, eq=False)
class Pins:
    """Known beats in the order of time.

    Attributes:
        steps: The frame of each, int64 `[pins]`, strictly ascending.
        frames: The same with fractions, float64 `[pins]`.
        downbeats: Which of them are known to be downbeats, bool `[pins]`.
    """

    steps: np.ndarray
    frames: np.ndarray
    downbeats: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    def numbers(self, frames: np.ndarray) -> np.ndarray:
        """Number of the pin at each of some frames, int64; -1 where there is none."""
        if not len(self):
            return np.full(len(frames), -1)
        at = np.minimum(np.searchsorted(self.steps, frames), len(self) - 1)
        return np.where(self.steps[at] == frames, at, -1)

    def later(self, frames: int) -> Pins:
        """The same counted from so many frames on."""
        return Pins(self.steps - frames, self.frames - frames, self.downbeats)


NO_PINS = Pins(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool))


def pins_of(options: Decoding, rate: float, offset: float, frames: int) -> Pins:
    """The pinned beats of options.

    Args:
        options: Name their seconds.
        rate: Frames a second.
        offset: Time of the first frame, seconds.
        frames: Of the recording.

    Raises:
        ValueError: One is outside of the recording.
    """
    times = np.array([*options.pinned_downbeats, *options.pinned], np.float64)
    exact = (times - offset) * rate
    steps = np.rint(exact)
    for time, step in zip(times.tolist(), steps.tolist(), strict=True):
        if not 0 <= step < frames:
            raise ValueError(f"pinned beat at {time:g} s: expected a time inside the recording")
    steps, first = np.unique(steps.astype(np.int64), return_index=True)
    return Pins(steps, exact[first], first < len(options.pinned_downbeats))


def certain(seen: Evidence, pins: Pins) -> Evidence:
    """Log densities for which only paths are possible that enter a beat at every pin, and at known downbeats a bar.

    A beat is heard at the pin, and none in the frame before: so one begins between them.
    """
    changes = np.zeros_like(seen.gains)
    changes[:, pins.steps + 1] += IMPOSSIBLE
    changes[1, pins.steps[pins.downbeats] + 1] -= IMPOSSIBLE
    changes[:, pins.steps[pins.steps > 0]] -= IMPOSSIBLE
    return Evidence(seen.gains + changes.cumsum(1), seen.nothing - IMPOSSIBLE * len(pins))


def check_tempi(pins: Pins, intervals: np.ndarray, rate: float) -> None:
    """Refuse pins that are so far apart that no number of beats fits between two of them.

    Args:
        pins: Of a recording.
        intervals: Frames from beat to beat that are possible, ascending.
        rate: Frames a second.

    Raises:
        ValueError: Two such.
    """
    shortest, longest = int(intervals[0]), int(intervals[-1])
    for gap in np.diff(pins.steps):
        if -(-gap // longest) > gap // shortest:
            slowest, fastest = 60 * rate / longest, 60 * rate / shortest
            raise ValueError(
                f"two pinned beats are {gap / rate:g} s apart: no number of beats of {slowest:.4g} to {fastest:.4g} "
                "BPM fits between them; widen min_bpm and max_bpm, or leave tempo out"
            )


def check_kept(pins: Pins, beats: np.ndarray, downbeats: np.ndarray | None, rate: float) -> None:
    """Refuse pins that no path keeps to.

    Args:
        pins: Of a recording.
        beats: Frames at which the likeliest path enters a beat.
        downbeats: Those at which it enters a bar; None: bars are not known yet.
        rate: Frames a second.

    Raises:
        ValueError: One is not kept.
    """
    lost = ~np.isin(pins.steps, beats)
    if downbeats is not None:
        lost |= pins.downbeats & ~np.isin(pins.steps, downbeats)
    if lost.any():
        number = int(lost.argmax())
        kind = "downbeat" if pins.downbeats[number] else "beat"
        raise ValueError(
            f"the pinned {kind} {pins.frames[number] / rate:.4g} s after the first frame does not go with the other "
            "pinned ones, the tempi and the bars that are allowed: check it, widen min_bpm and max_bpm, lower "
            "transition_lambda, or give more bars"
        )
