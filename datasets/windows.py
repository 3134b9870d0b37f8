"""Where to cut a track: random crops, consecutive windows, and the padding of what is too short.

Lengths and positions are counted in rows of the stored array (frames of features, samples of audio).
"""

from __future__ import annotations

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


def cut(
    track: np.ndarray, length: int, hop: int, fill: float = 0.0, unpadded: int | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Cut a track into windows.

    The last window may lack a tenth of its rows, and a track that is shorter than a window is a single one; both are
    padded. What is left behind the last window is dropped.

    Args:
        track: `[rows, ...]`.
        length: Of a window, rows.
        hop: From one window to the next, rows.
        fill: What padding is made of.
        unpadded: Rows that a network takes of this track as they are, where it has less than nine tenths of a window;
            None: it is padded.

    Returns:
        First row of every window, and the windows.
    """
    if unpadded is not None and is_short(len(track), length):
        return np.zeros(1, dtype=int), [track[:unpadded]]
    starts = np.array([start for start, _ in exhaustive_windows(len(track), length, hop)])
    windows = [track[start : start + length] for start in starts]
    return starts, [one if len(one) == length else pad_centred(one, length, fill) for one in windows]


def _check(rows: int, length: int) -> None:
    if rows < 1:
        raise ValueError(f"rows={rows}: a track has at least 1 row; leave empty tracks out")
    if length < 1:
        raise ValueError(f"length={length}: a window has at least 1 row")
