"""Where to cut a track: random crops, windows at a distance or evenly spread, and the padding of what is too short.

Lengths and positions are counted in rows of the stored array (frames of features, samples of audio).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TOLERANCE_TENTHS = 9  # a window that has at least 9/10 of its rows counts


def offset_range(rows: int, length: int) -> range:
    """All starts from which a random crop is drawn, each with equal chance: ``0 .. max(rows - length, 0)``."""
    _check(rows, length)
    return range(max(rows - length, 0) + 1)


def centred_padding(rows: int, length: int) -> tuple[int, int]:
    """Rows of padding before and after ``rows`` rows that centre them in ``length``; an odd one goes behind."""
    missing = length - rows
    if missing < 0:
        raise ValueError(f"{rows} rows do not fit into {length}; cut before padding")
    return missing // 2, missing - missing // 2


def pad_centred(array: np.ndarray, length: int, fill: float = 0.0) -> np.ndarray:
    """``array`` ``[rows, ...]`` in the middle of a new ``[length, ...]`` of ``fill``."""
    before, _ = centred_padding(len(array), length)
    padded = np.full((length, *array.shape[1:]), fill, dtype=array.dtype)
    padded[before : before + len(array)] = array
    return padded


def pad_behind(array: np.ndarray, length: int, fill: float = 0.0) -> np.ndarray:
    """``array`` ``[rows, ...]`` at the beginning of a new ``[length, ...]`` of ``fill``."""
    padded = np.full((length, *array.shape[1:]), fill, dtype=array.dtype)
    padded[: len(array)] = array
    return padded


def is_short(rows: int, length: int) -> bool:
    """Whether a track has less than nine tenths of one window, so that its only window is mostly padding."""
    return 10 * rows < _TOLERANCE_TENTHS * length


def exhaustive_windows(rows: int, length: int, hop: int | None = None) -> list[tuple[int, int]]:
    """Consecutive windows over a whole track.

    There are ``floor((rows - 0.9 length) / hop) + 1`` of them: the last may miss up to a tenth of its rows (to be
    padded, centred), what is left of the tail is dropped. A track shorter than ``0.9 length`` still has one window.

    Args:
        rows: of the track, at least 1.
        length: of a window.
        hop: between the starts of two windows; default ``length``.

    Returns:
        For every window its first row and how many rows of the track it holds (at most ``length``).

    Raises:
        ValueError: a number below 1.
    """
    hop = length if hop is None else hop
    _check(rows, length)
    if hop < 1:
        raise ValueError(f"hop={hop}: at least 1 row")
    count = 1 if is_short(rows, length) else (10 * rows - _TOLERANCE_TENTHS * length) // (10 * hop) + 1
    starts = range(0, count * hop, hop)
    return [(start, min(length, rows - start)) for start in starts]


def spread_windows(rows: int, length: int, count: int | None = None) -> list[int]:
    """First rows of windows spread evenly over a track, the first at its beginning, the last flush with its end.

    A single window lies at the centre. A track that is shorter than a window has that one; a track with fewer places
    for a window than windows has one at each place.

    Args:
        rows: of the track, at least 1.
        length: of a window.
        count: of windows; None: as few as leave no more than a tenth of a window uncovered.

    Raises:
        ValueError: a number below 1.
    """
    _check(rows, length)
    if count is None:
        count = max(1, -((length - 10 * rows) // (10 * length)))
    if count < 1:
        raise ValueError(f"windows={count}: at least 1")
    room = max(rows - length, 0)
    count = min(count, room + 1)
    return [room // 2] if count == 1 else [round(number * room / (count - 1)) for number in range(count)]


def windows_to_end(rows: int, length: int, hop: int) -> list[int]:
    """First rows of windows at a distance, and of a last one flush with the end; of a track shorter than a window 0.

    Raises:
        ValueError: a number below 1.
    """
    _check(rows, length)
    if hop < 1:
        raise ValueError(f"hop={hop}: at least 1 row")
    room = max(rows - length, 0)
    return [*range(0, room, hop), room]


@dataclass(frozen=True)
class Plan:
    """Where the windows of a track lie: at a distance (`hop`), or evenly spread.

    Attributes:
        length: of a window, rows.
        hop: from one window to the next, rows; None: they are spread by `spread_windows`.
        count: of windows that are spread; None: as few as cover the track.
        to_end: whether a last window is flush with the end of the track; else they are `exhaustive_windows`.
        align: rows; above 0, windows begin at multiples of it, the last one reaches the end of the track, and what it
            lacks is padded behind. Then rows of all windows lie on one grid.
    """

    length: int
    hop: int | None = None
    count: int | None = None
    to_end: bool = False
    align: int = 0

    def starts(self, rows: int) -> list[int]:
        """First rows of the windows of a track of so many rows, ascending."""
        if self.hop is None:
            return spread_windows(rows, self.length, self.count)
        if self.align:
            last = -(-max(rows - self.length, 0) // self.align) * self.align
            return [*range(0, last, self.hop), last]
        if self.to_end:
            return windows_to_end(rows, self.length, self.hop)
        return [start for start, _ in exhaustive_windows(rows, self.length, self.hop)]


def cut(
    track: np.ndarray, plan: Plan, fill: float = 0.0, unpadded: int | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Cut a track into windows.

    A window that lacks rows, the last one or the only one of a short track, is padded.

    Args:
        track: `[rows, ...]`.
        plan: Where the windows lie.
        fill: What padding is made of.
        unpadded: Rows that a network takes of this track as they are, where it has less than nine tenths of a window;
            None: it is padded.

    Returns:
        First row of every window, and the windows.
    """
    if unpadded is not None and is_short(len(track), plan.length):
        return np.zeros(1, dtype=int), [track[:unpadded]]
    starts = np.array(plan.starts(len(track)))
    windows = [track[start : start + plan.length] for start in starts]
    pad = pad_behind if plan.align else pad_centred
    return starts, [one if len(one) == plan.length else pad(one, plan.length, fill) for one in windows]


def _check(rows: int, length: int) -> None:
    if rows < 1:
        raise ValueError(f"rows={rows}: a track has at least 1 row; leave empty tracks out")
    if length < 1:
        raise ValueError(f"length={length}: a window has at least 1 row")
