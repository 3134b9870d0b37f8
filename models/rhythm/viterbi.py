"""The likeliest path through bars, found from beat to beat instead of from frame to frame.

Inside a beat a path has no choice, so only entries into beats are scored. Scores are relative to a path that never
meets a beat: what an entry adds is a difference of running sums, whatever the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.machine_code import compiled
from models.rhythm import kernels
from models.rhythm.bar_model import BarModel
from models.rhythm.observations import Evidence

BLOCK_BYTES = 64 * 2**20  # of scores kept at once; longer recordings are computed twice, the second time backwards


@dataclass(frozen=True, eq=False)
class Path:
    """Entries into beats, in the order of time.

    Attributes:
        frames: At which a beat is entered, int64 `[entries]`; the first one is below 0 unless the path begins with it.
        beats: Number in the bar, from 0, int64 `[entries]`.
        intervals: Frames until the next entry, int64 `[entries]`.
        widths: Frames in which the beat is heard, int64 `[entries]`.
        log_probability: Of path and observations together.
    """

    frames: np.ndarray
    beats: np.ndarray
    intervals: np.ndarray
    widths: np.ndarray
    log_probability: float


def viterbi(model: BarModel, evidence: Evidence, block_bytes: int = BLOCK_BYTES) -> Path:
    """The likeliest path, starting anywhere in a bar with any tempo.

    Memory does not grow with the recording but for a small state every some ten thousand frames.

    Args:
        model: Of bars.
        evidence: Of at least one frame.
        block_bytes: Of scores kept at once.
    """
    advance, back = compiled(kernels.advance, kernels.ADVANCE), compiled(kernels.back, kernels.BACK)
    lag, total = int(model.intervals[-1]), evidence.frames
    row = model.beats * len(model.intervals)
    length = min(total, max(4 * lag, block_bytes // (8 * row) - lag))
    scores = np.empty((model.beats, len(model.intervals), lag + length))
    scores[:, :, :lag] = _start(model, evidence)
    tables = (model.first, model.last, model.log_transitions)

    def fill(start: int) -> None:
        count = min(length, total - start)
        advance(scores, lag, count, model.intervals, model.widths, *tables, evidence.gains, start)

    starts, history = range(0, total, length), []
    for start in starts:
        if start:
            scores[:, :, :lag] = scores[:, :, length:].copy()
        history.append(scores[:, :, :lag].copy())
        fill(start)
    entries = np.empty((total // int(model.intervals[0]) + 2, 3), np.int64)
    best, entries[0] = _end(model, scores[:, :, : lag + total - starts[-1]], total)
    known = 0
    for start, before in zip(reversed(starts), reversed(history), strict=True):
        if start != starts[-1]:
            scores[:, :, :lag] = before
            fill(start)
        known = back(scores, start - lag, start, model.intervals, *tables, entries, known)
    frames, beats, numbers = entries[known::-1].T
    return Path(frames, beats, model.intervals[numbers], model.widths[numbers], evidence.nothing + best)


def _start(model: BarModel, evidence: Evidence) -> np.ndarray:
    """Scores `[beats, intervals, lag]` of beats entered before the recording, every state being equally likely."""
    lag = int(model.intervals[-1])
    entered = np.arange(-lag, 0)
    heard = np.clip(entered[None, :] + model.widths[:, None], 0, evidence.frames)
    scores = evidence.gains[:, heard] + model.start
    scores[:, entered[None, :] < -model.intervals[:, None]] = -np.inf
    return scores[np.minimum(np.arange(model.beats), 1)]


def _end(model: BarModel, scores: np.ndarray, frames: int) -> tuple[float, tuple[int, int, int]]:
    """The best score of a path that ends in any state, and frame, beat and number of the interval of its last entry.

    Args:
        model: Of bars.
        scores: Up to the end of the recording.
        frames: Of the recording.
    """
    best, entry = -np.inf, (0, 0, 0)
    for beat in range(model.beats):
        for number, interval in enumerate(model.intervals):
            latest_first = scores[beat, number, -interval:][::-1]
            place = int(latest_first.argmax())
            if latest_first[place] > best:
                best, entry = float(latest_first[place]), (frames - 1 - place, beat, number)
    return best, entry
