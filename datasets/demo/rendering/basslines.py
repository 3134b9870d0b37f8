"""A bass that follows beats and harmony: the lowest notes that sound give its roots."""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator

import numpy as np

from datasets.demo.rendering.grid import Grid
from datasets.demo.rendering.piece import MidiPart
from datasets.demo.synth import Note

LOWEST = 28  # the low E of a bass
HELD_LONGEST = 8.0  # seconds that are looked back for a note that still sounds
PATTERNS = {"long": 3, "beats": 3, "eighths": 3, "off": 2, "kick": 4, "octaves": 1.5, "fifths": 2, "walking": 1.5}


def played(rng: random.Random, parts: list[MidiPart], grid: Grid, kick: list[float]) -> tuple[Note, ...]:
    """A bass line.

    Args:
        parts: Where the harmony comes from.
        grid: With known bars.
        kick: Seconds of the bass drum, which one of the patterns plays along with.
    """
    style = rng.choices(list(PATTERNS), list(PATTERNS.values()))[0]
    if style == "kick" and not kick:
        style = "beats"
    length = rng.uniform(0.5, 0.98)
    notes = sorted(note for part in parts if not part.drum for note in part.notes)
    starts = [note.start for note in notes]
    line = []
    root = None
    for time, end, step in _onsets(rng, style, grid, kick):
        root = _lowest(notes, starts, time, root)
        if root is None:
            continue
        pitch = LOWEST + (root - LOWEST) % 12 + step
        pitch += 12 if pitch < LOWEST else 0
        line.append(Note(time, max(0.05, length * (end - time)), pitch, rng.randint(80, 112)))
    return tuple(line)


def _onsets(rng: random.Random, style: str, grid: Grid, kick: list[float]) -> Iterator[tuple[float, float, int]]:
    """When the bass plays, until when, and how many semitones above the root."""
    if style == "kick":
        for time, after in zip(kick, [*kick[1:], grid.times[-1]], strict=True):
            yield time, max(time + 0.1, min(after, time + 1.0)), 0
        return
    order = np.arange(len(grid))

    def at(beat: float) -> float:
        return float(np.interp(beat, order, grid.times))

    for first, length in grid.bars():
        if style == "long":
            yield at(first), at(first + length), 0
        elif style == "fifths":
            half = length // 2 if length > 3 else length
            yield at(first), at(first + half), 0
            if half < length:
                yield at(first + half), at(first + length), rng.choice((7, 0, -5))
        else:
            parts = 3 if grid.meters[first].compound and style == "eighths" else 2
            for beat in range(first, first + length):
                if style in ("beats", "walking"):
                    step = rng.choice((0, 7, 12, 4, -1)) if style == "walking" and beat > first else 0
                    yield at(beat), at(beat + 1), step
                elif style == "off":
                    yield at(beat + 0.5), at(beat + 1), 0
                else:
                    for part in range(parts):
                        high = 12 if style == "octaves" and part else 0
                        yield at(beat + part / parts), at(beat + (part + 1) / parts), high


def _lowest(notes: list[Note], starts: list[float], time: float, before: int | None) -> int | None:
    """The lowest pitch that sounds at a time, or shortly after; the former one where none does."""
    first, last = bisect.bisect_left(starts, time - HELD_LONGEST), bisect.bisect_right(starts, time + 0.08)
    sounding = [note.pitch for note in notes[first:last] if note.start + note.duration > time + 0.05]
    return min(sounding, default=before)
