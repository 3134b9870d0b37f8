"""A metric series that stays short enough to be drawn: thinned evenly, its first, last and best points kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

EXTRA = 3  # points kept beside the evenly spaced ones: the last, the lowest, the highest


class ThinnedSeries:
    """The points that are kept of one series; a function of the points added, however they were batched.

    Every `stride`-th point is kept. When there is no more room, every second of these is dropped and the stride
    doubles. The last point and the lowest and highest value, the first time they appeared, are kept besides.

    Attributes:
        seq: number of the last record added, as its writer counts them.
        stride: distance, in points, between those kept.
        seen: number of points added.
    """

    __slots__ = ("_grid", "_high", "_last", "_low", "limit", "seen", "seq", "stride")

    def __init__(self, limit: int):
        """
        Args:
            limit: number of points kept at most, 10 or more.
        """
        self.limit, self.seq, self.stride, self.seen = limit, 0, 1, 0
        self._grid: list[Sequence[Any]] = []
        self._low = self._high = self._last = (-1, (0, 0.0, 0.0))

    def add(self, seq: int, points: Sequence[Sequence[Any]]) -> None:
        """Add the `[step, value, time]` points of a record; a record added before is left alone."""
        if seq <= self.seq:
            return
        self.seq = seq
        for point in points:
            index, value = self.seen, point[1]
            self.seen += 1
            if index % self.stride == 0:
                self._grid.append(point)
                if len(self._grid) > self.limit - EXTRA:
                    self._grid = self._grid[::2]
                    self.stride *= 2
            if index == 0 or value < self._low[1][1]:
                self._low = (index, point)
            if index == 0 or value > self._high[1][1]:
                self._high = (index, point)
            self._last = (index, point)

    def before(self, step: float, seq: int) -> ThinnedSeries | None:
        """The series without its points from `step` on, as of the record `seq`; None where points were thinned out."""
        if self.stride > 1:
            return None
        left = ThinnedSeries(self.limit)
        left.add(seq, [point for point in self._grid if point[0] < step])
        return left

    def points(self, start: int = 0) -> list[Sequence[Any]]:
        """The kept points in order, from the `start`-th on."""
        if self.stride == 1:
            return self._grid[start:]
        extra = {index: point for index, point in (self._low, self._high, self._last) if index % self.stride}
        if not extra:
            return self._grid[start:]
        indexed = [(position * self.stride, point) for position, point in enumerate(self._grid)]
        return [point for _, point in sorted(indexed + list(extra.items()), key=lambda pair: pair[0])][start:]
