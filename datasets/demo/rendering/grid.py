"""The beats of a piece with the metre that each stands in.

The beat is the unit of the time signature's denominator. In compound metres, whose numerator is 6, 9 or 12 over 8 or
16, it is three of those units: 6/8 has two beats a bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from datasets.beats import Beats


class Meter(NamedTuple):
    """A time signature."""

    numerator: int
    denominator: int

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"

    @property
    def compound(self) -> bool:
        """Whether three units make a beat."""
        return self.denominator >= 8 and self.numerator > 3 and self.numerator % 3 == 0

    @property
    def beats(self) -> int:
        """In a bar."""
        return self.numerator // 3 if self.compound else self.numerator

    @property
    def quarters(self) -> float:
        """Quarter notes in a beat."""
        return (12 if self.compound else 4) / self.denominator

    @property
    def steps(self) -> int:
        """Sixteenths in a beat of quarters or of dotted quarters, and what divides other beats alike."""
        return 6 if self.compound else 2 if self.denominator >= 8 else 4


@dataclass(frozen=True, eq=False)
class Grid:
    """Beats in order.

    Attributes:
        times: Seconds, float64 `[beats]`, ascending.
        positions: In the bar from 1; 0 where it is not known; int64 `[beats]`.
        meters: The metre of each.
    """

    times: np.ndarray
    positions: np.ndarray
    meters: tuple[Meter, ...]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def barred(self) -> bool:
        """Whether the bars are known."""
        return bool(len(self)) and bool((self.positions == 1).any())

    def bars(self) -> list[tuple[int, int]]:
        """Whole bars, as (number of the first beat, number of beats); a beat must follow."""
        starts = np.flatnonzero(self.positions == 1)
        return [(int(first), int(after - first)) for first, after in pairwise(starts)]

    def at(self, times: np.ndarray) -> Grid:
        """The same beats at other times."""
        return Grid(np.asarray(times, np.float64), self.positions, self.meters)

    def between(self, start: float, end: float) -> Grid:
        """The beats from `start` on and before `end`, counted from `start`."""
        first, last = np.searchsorted(self.times, (start, end))
        return Grid(self.times[first:last] - start, self.positions[first:last], self.meters[first:last])

    def beats(self) -> Beats:
        """As an annotation."""
        return Beats(self.times, self.positions if self.barred else None)


def of_bars(bars: Sequence[tuple[Meter, int]], tempo: float, first: float = 0.0) -> Grid:
    """A grid of steady beats: metres with the number of their bars, BPM, seconds of the first beat."""
    meters = [meter for meter, count in bars for _ in range(count * meter.beats)]
    positions = [place + 1 for meter, count in bars for _ in range(count) for place in range(meter.beats)]
    times = first + 60.0 / tempo * np.arange(len(meters))
    return Grid(times, np.array(positions, np.int64), tuple(meters))
