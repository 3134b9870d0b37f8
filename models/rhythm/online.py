"""Beats as they come: the forward algorithm on the bar-pointer model, which knows nothing of what follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from models.machine_code import compiled
from models.rhythm import kernels, positions
from models.rhythm.bar_model import BarModel, bar_model
from models.rhythm.decoded import Decoded
from models.rhythm.observations import exclusive, within


class OnlineTracker:
    """Follows bars of several lengths at once; a beat is reported in the frame in which it is heard.

    Args:
        rate: Frames a second.
        bars: Beats of a bar, and the log prior of such a piece. `{1: 0}`: beats alone.
        max_bpm: Fastest tempo; no beat is reported sooner after another.
        observation_lambda: A beat is heard in the first of so many parts of its interval.
        model: Further arguments of `bar_model`.
    """

    def __init__(
        self,
        rate: float,
        bars: Mapping[int, float],
        *,
        max_bpm: float = 215.0,
        observation_lambda: float = 16.0,
        **model: Any,
    ) -> None:
        self._rate, self._bars, self._lambda = rate, dict(bars), observation_lambda
        common = {"max_bpm": max_bpm, "observation_lambda": observation_lambda, **model}
        self._tables = _joined([bar_model(rate, beats, **common) for beats in self._bars])
        lengths = np.repeat(list(self._bars), list(self._bars))
        intervals = self._tables[3]
        self._shortest = int(intervals[0])  # frames: 60 / max_bpm seconds, rounded as all intervals are
        weights = np.exp(np.repeat(list(self._bars.values()), list(self._bars))) / lengths
        self._state = np.repeat(weights, intervals.sum())
        self._positions = np.concatenate([np.arange(beats) + 1 for beats in self._bars])
        self._frame, self._last = 0, -math.inf

    def push(self, beat: np.ndarray, downbeat: np.ndarray | None) -> Decoded:
        """Beats in the next frames.

        Args:
            beat: Probability of any beat, `[frames]`.
            downbeat: Probability of a downbeat `[frames]`; None: positions are not known.

        Returns:
            Seconds from the first frame that was ever given.
        """
        if downbeat is None:
            down = other = within(beat)
            none = 1 - other
        else:
            down, other = exclusive(beat, downbeat)
            none = 1 - down - other
        ratios = np.stack([down, other], 1) / (none / (self._lambda - 1))[:, None]
        found = np.empty(len(beat), np.int64)
        forward = compiled(kernels.forward, kernels.FORWARD)
        forward(self._state, *self._tables, ratios, self._frame, found)
        frames = []
        for frame in np.flatnonzero(found >= 0):
            if self._frame + frame - self._last >= self._shortest:
                frames.append(frame)
                self._last = self._frame + frame
        at = np.array(frames, np.int64)
        places = np.zeros(len(at), np.int64) if downbeat is None else self._positions[found[at]]
        times = (self._frame + at) / self._rate
        self._frame += len(beat)
        return Decoded(times, places, np.asarray(beat[at], np.float32), positions.metre(places))


def _joined(models: list[BarModel]) -> tuple[np.ndarray, ...]:
    """Several bars side by side, as `models.rhythm.kernels.forward` reads them."""
    intervals, widths = models[0].intervals, models[0].widths
    numbers = np.concatenate([np.arange(model.beats) for model in models])
    before, base = np.arange(len(numbers)) - 1, 0
    for model in models:
        before[base] = base + model.beats - 1
        base += model.beats
    rings = np.concatenate([[0], np.cumsum(intervals)])
    starts = np.arange(len(numbers))[:, None] * rings[-1] + rings[None, :-1]
    kinds = np.minimum(numbers, 1)
    first, last = (np.concatenate([getattr(model, name) for model in models]) for name in ("first", "last"))
    transitions = np.exp(np.concatenate([model.log_transitions for model in models]))
    return starts, before, kinds, intervals, widths, first, last, transitions
