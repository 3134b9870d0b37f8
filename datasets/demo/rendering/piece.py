"""A piece of music with its truth, and what can be done to both at once: stretch, warp, transpose, cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from datasets.demo.rendering.grid import Grid
from datasets.demo.synth import Note

TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
COVERED = 0.8  # of a clip by one key, for the clip to be in that key

Warp = Callable[[np.ndarray], np.ndarray]  # seconds before -> seconds after, ascending


@dataclass(frozen=True)
class MidiPart:
    """One instrument: a General MIDI program, or a drum kit.

    Attributes:
        role: What it plays in the piece: "melody", "chords", "bass" or "drums".
    """

    notes: tuple[Note, ...]
    program: int
    drum: bool
    role: str


@dataclass(frozen=True)
class KeySpan:
    """A key from one time to another, seconds; `tonic` are semitones above C."""

    start: float
    end: float
    tonic: int
    minor: bool

    @property
    def name(self) -> str:
        """As `mir_eval` writes keys."""
        return f"{TONICS[self.tonic % 12]} {'minor' if self.minor else 'major'}"


@dataclass(frozen=True)
class MidiPiece:
    """Notes, beats and keys on one clock, in seconds.

    Attributes:
        name: The MIDI file, relative to its folder.
        style: What a table beside the file calls it; empty where nothing does.
        split: The split that such a table puts it in; empty likewise.
    """

    name: str
    parts: tuple[MidiPart, ...]
    grid: Grid
    keys: tuple[KeySpan, ...] = ()
    style: str = ""
    split: str = ""

    @property
    def start(self) -> float:
        """Of the first note."""
        return min((part.notes[0].start for part in self.parts if part.notes), default=0.0)

    @property
    def end(self) -> float:
        """Of the last note."""
        return max((note.start + note.duration for part in self.parts for note in part.notes), default=0.0)

    def warped(self, warp: Warp) -> MidiPiece:
        """All that has a time moved by the same function."""
        parts = tuple(replace(part, notes=warped_notes(part.notes, warp)) for part in self.parts)
        keys = []
        for key in self.keys:
            start, end = warp(np.array([key.start, key.end]))
            keys.append(replace(key, start=float(start), end=float(end)))
        return replace(self, parts=parts, keys=tuple(keys), grid=self.grid.at(warp(self.grid.times)))

    def transposed(self, semitones: int) -> MidiPiece:
        """Every pitch but those of drums, and the keys; what leaves the range of MIDI goes to the nearest octave."""
        parts = tuple(part if part.drum else replace(part, notes=_moved(part.notes, semitones)) for part in self.parts)
        keys = tuple(replace(key, tonic=(key.tonic + semitones) % 12) for key in self.keys)
        return replace(self, parts=parts, keys=keys)

    def key_between(self, start: float, end: float) -> str:
        """The name of the key that most of a stretch is in; empty where none is known, or several are."""
        shares: dict[str, float] = {}
        for key in self.keys:
            shared = min(end, key.end) - max(start, key.start)
            shares[key.name] = shares.get(key.name, 0.0) + max(0.0, shared)
        best = max(shares, key=shares.__getitem__, default="")
        return best if best and shares[best] >= COVERED * (end - start) else ""


def warped_notes(notes: tuple[Note, ...], warp: Warp) -> tuple[Note, ...]:
    """Notes whose starts and ends, and moves of the pitch wheel, are moved by one function."""
    if not notes:
        return ()
    starts = np.array([note.start for note in notes])
    ends = starts + [note.duration for note in notes]
    begun, ended = warp(starts), warp(ends)
    moved = []
    for note, start, end in zip(notes, begun.tolist(), ended.tolist(), strict=True):
        bends = note.bends
        if bends:
            times = warp(note.start + np.array([time for time, _ in bends])) - start
            bends = tuple((float(time), semitones) for time, (_, semitones) in zip(times, bends, strict=True))
        moved.append(note._replace(start=start, duration=max(0.0, end - start), bends=bends))
    return tuple(moved)


def _moved(notes: tuple[Note, ...], semitones: int) -> tuple[Note, ...]:
    moved = []
    for note in notes:
        pitch = note.pitch + semitones
        moved.append(note._replace(pitch=pitch + 12 * ((pitch < 0) - (pitch > 127))))
    return tuple(moved)
