"""The likeliest path through bars, found from beat to beat instead of from frame to frame.

Inside a beat a path has no choice, so only entries into beats are scored. Scores are relative to a path that never
meets a beat: what an entry adds is a difference of running sums, whatever the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.rhythm.bar_model import BarModel
from models.rhythm.kernels import advance
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
    kernel, lag, total = advance(), int(model.intervals[-1]), evidence.frames
    row = model.beats * len(model.intervals)
    length = min(total, max(4 * lag, block_bytes // (8 * row) - lag))
    scores = np.empty((model.beats, len(model.intervals), lag + length))
    scores[:, :, :lag] = _start(model, evidence)

    def fill(start: int) -> None:
        count = min(length, total - start)
        tables = (model.intervals, model.widths, model.first, model.last, model.log_transitions)
        kernel(scores, lag, count, *tables, evidence.gains, start)

    starts, kept = range(0, total, length), []
    for start in starts:
        if start:
            scores[:, :, :lag] = scores[:, :, length : length + lag].copy()
        kept.append(scores[:, :, :lag].copy())
        fill(start)
    best, entry = _end(model, scores[:, :, : lag + total - starts[-1]], total)
    entries = []
    for start, before in zip(reversed(starts), reversed(kept), strict=True):
        if start != starts[-1]:
            scores[:, :, :lag] = before
            fill(start)
        entry = _back(model, scores, start - lag, entry, entries, stop=start)
    entries.append(entry)
    frames, beats, numbers = np.array(entries[::-1], np.int64).T
    return Path(frames, beats, model.intervals[numbers], model.widths[numbers], evidence.nothing + best)


def _start(model: BarModel, evidence: Evidence) -> np.ndarray:
    """Scores `[beats, intervals, lag]` of beats entered before the recording, every state being equally likely."""
    lag = int(model.intervals[-1])
    entered = np.arange(-lag, 0)
    heard = np.clip(entered[None, :] + model.widths[:, None], 0, evidence.frames)
    scores = evidence.gains[:, heard] - np.log(model.states)
    scores[:, entered[None, :] < -model.intervals[:, None]] = -np.inf
    return scores[np.minimum(np.arange(model.beats), 1)]


Entry = tuple[int, int, int]  # frame, beat of the bar, number of the interval


def _end(model: BarModel, scores: np.ndarray, frames: int) -> tuple[float, Entry]:
    """The best score of a path that ends in any state, and its last entry.

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


def _back(model: BarModel, scores: np.ndarray, offset: int, entry: Entry, entries: list[Entry], stop: int) -> Entry:
    """Follow a path back until it enters before a frame; gives the entry there.

    Args:
        model: Of bars.
        scores: Of a block.
        offset: Frame of its first column.
        entry: The last one known.
        entries: Those passed are appended.
        stop: Frame of the block behind its history.
    """
    frame, beat, number = entry
    while frame >= stop:
        entries.append((frame, beat, number))
        before = beat - 1 if beat else model.beats - 1
        froms = slice(model.first[beat, number], model.last[beat, number])
        columns = frame - offset - model.intervals[froms]
        ways = scores[before, np.arange(froms.start, froms.stop), columns] + model.log_transitions[beat, number, froms]
        number = int(froms.start + ways.argmax())
        frame, beat = frame - int(model.intervals[number]), before
    return frame, beat, number
