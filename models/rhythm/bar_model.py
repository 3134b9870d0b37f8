"""The bar-pointer model: tempi, and how likely a beat of one tempo follows a beat of another.

State space of Krebs, Böck and Widmer, "An Efficient State-Space Model for Joint Tempo and Meter Tracking" (ISMIR 2015).
The unit of time is a frame; a tempo is an interval of whole frames from one beat to the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SHORTEST = 2  # frames of an interval: in one frame a beat and what follows it cannot be told apart
NEGLIGIBLE = np.finfo(np.float64).eps  # transitions that are not more likely do not exist

Lambdas = float | None | Sequence[float | None]


@dataclass(frozen=True, eq=False)
class BarModel:
    """Bars of a number of beats; a beat has as many states as its interval has frames.

    Attributes:
        intervals: Frames from beat to beat, int64 `[n]`, ascending.
        widths: Frames at the beginning of each interval in which the beat is heard, int64 `[n]`.
        log_transitions: Into each beat of the bar, float64 `[beats, to, from]`.
        first: The first interval that a beat of an interval may come from, int64 `[beats, n]`.
        last: One behind the last.
        start: Log probability of every state before the first frame.
    """

    intervals: np.ndarray
    widths: np.ndarray
    log_transitions: np.ndarray
    first: np.ndarray
    last: np.ndarray
    start: float

    @property
    def beats(self) -> int:
        """Beats of a bar."""
        return len(self.log_transitions)

    @property
    def states(self) -> int:
        """Their number."""
        return self.beats * int(self.intervals.sum())

    @property
    def transitions(self) -> int:
        """Number of those that are possible."""
        changes = int(np.isfinite(self.log_transitions).sum())
        return self.states - self.beats * len(self.intervals) + changes

    def between(self, shortest: float, longest: float) -> BarModel | None:
        """The paths of this model with intervals of so many frames alone, as likely as they are here.

        None where it has no such interval.
        """
        first, last = np.searchsorted(self.intervals, shortest), np.searchsorted(self.intervals, longest, side="right")
        if first == last:
            return None
        kept = slice(first, last)
        return BarModel(
            self.intervals[kept],
            self.widths[kept],
            np.ascontiguousarray(self.log_transitions[:, kept, kept]),
            np.ascontiguousarray(np.maximum(self.first[:, kept] - first, 0)),
            np.ascontiguousarray(np.minimum(self.last[:, kept], last) - first),
            self.start,
        )


def intervals_between(rate: float, min_bpm: float, max_bpm: float, n_tempi: int | None = None) -> np.ndarray:
    """Frames from beat to beat, int64, ascending.

    Args:
        rate: Frames a second.
        min_bpm: Slowest tempo.
        max_bpm: Fastest tempo.
        n_tempi: At least so many of the intervals, equally spaced on a logarithmic axis. None: all of them.

    Raises:
        ValueError: The fastest tempo has less than two frames a beat.
    """
    shortest, longest = 60 * rate / max_bpm, 60 * rate / min_bpm
    if np.rint(shortest) < SHORTEST:
        raise ValueError(
            f"max_bpm {max_bpm:g} at {rate:g} frames a second is less than {SHORTEST} frames a beat: "
            f"expected at most {60 * rate / SHORTEST:g} BPM"
        )
    every = np.arange(np.rint(shortest), np.rint(longest) + 1).astype(np.int64)
    if n_tempi is None or n_tempi >= len(every):
        return every
    points = n_tempi
    while True:
        spread = np.unique(np.rint(np.logspace(math.log2(shortest), math.log2(longest), points, base=2)))
        if len(spread) >= n_tempi:
            return spread.astype(np.int64)
        points += 1


def transition_probabilities(intervals: np.ndarray, strength: float | None) -> np.ndarray:
    """From interval to interval at a beat, float64 `[from, to]`; every row sums up to 1.

    Args:
        intervals: Frames `[n]`.
        strength: Lambda, how steady the tempo is; None: it never changes.
    """
    if strength is None:
        return np.eye(len(intervals))
    change = np.abs(intervals[None, :] / intervals[:, None] - 1)
    weights = np.exp(-strength * change)
    weights[weights <= NEGLIGIBLE] = 0
    return weights / weights.sum(1, keepdims=True)


def bar_model(
    rate: float,
    beats: int,
    *,
    min_bpm: float = 40.0,
    max_bpm: float = 215.0,
    n_tempi: int | None = 60,
    transition_lambda: Lambdas = 100.0,
    observation_lambda: float = 16.0,
) -> BarModel:
    """The model of a bar; made once for equal arguments.

    Args:
        rate: Frames a second.
        beats: Of a bar; 1 to look for beats alone.
        min_bpm: Slowest tempo.
        max_bpm: Fastest tempo.
        n_tempi: See `intervals_between`.
        transition_lambda: The larger, the steadier the tempo; None: constant. Several: into the first beat of a bar,
            the second, and so on; the last one holds for the beats that are left.
        observation_lambda: A beat is heard in the first of so many parts of its interval.

    Raises:
        ValueError: See `intervals_between`.
    """
    one = transition_lambda is None or isinstance(transition_lambda, int | float)
    lambdas = (transition_lambda,) if one else tuple(transition_lambda)
    return _made(rate, beats, min_bpm, max_bpm, n_tempi, lambdas, observation_lambda)


@lru_cache(maxsize=64)
def _made(
    rate: float,
    beats: int,
    min_bpm: float,
    max_bpm: float,
    n_tempi: int | None,
    lambdas: tuple[float | None, ...],
    observation_lambda: float,
) -> BarModel:
    intervals = intervals_between(rate, min_bpm, max_bpm, n_tempi)
    into = [transition_probabilities(intervals, lambdas[min(beat, len(lambdas) - 1)]).T for beat in range(beats)]
    with np.errstate(divide="ignore"):
        log_transitions = np.log(np.ascontiguousarray(into))
    possible = np.isfinite(log_transitions)
    first = possible.argmax(2)
    last = len(intervals) - possible[:, :, ::-1].argmax(2)
    widths = np.ceil(intervals / observation_lambda).astype(np.int64)
    start = -math.log(beats * int(intervals.sum()))
    return BarModel(intervals, widths, log_transitions, first, last, start)
