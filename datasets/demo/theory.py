"""Keys, scales, Roman numerals and voice leading: the music theory that the composer needs, as plain functions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

TONICS = {  # one spelling per key, the one with the fewer accidentals
    "major": ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    "minor": ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
}
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
ROMAN = {"I": 0, "II": 1, "III": 2, "IV": 3, "V": 4, "VI": 5, "VII": 6}
QUALITIES = {  # suffix -> (third below an upper-case numeral, third below a lower-case one), semitones above the root
    "": ((0, 4, 7), (0, 3, 7)),
    "6": ((0, 4, 7, 9), (0, 3, 7, 9)),
    "7": ((0, 4, 7, 10), (0, 3, 7, 10)),
    "9": ((0, 4, 7, 10, 14), (0, 3, 7, 10, 14)),
    "maj7": ((0, 4, 7, 11), (0, 3, 7, 11)),
    "add9": ((0, 4, 7, 14), (0, 3, 7, 14)),
    "sus4": ((0, 5, 7), (0, 5, 7)),
    "7b9": ((0, 4, 7, 10, 13), (0, 3, 7, 10, 13)),
    "dim": ((0, 3, 6), (0, 3, 6)),
    "dim7": ((0, 3, 6, 9), (0, 3, 6, 9)),
    "m7b5": ((0, 3, 6, 10), (0, 3, 6, 10)),
}
NUMERAL = re.compile(r"([b#]?)([IV]+|[iv]+)(.*)")


@dataclass(frozen=True)
class Tonality:
    """A tonic (pitch class 0..11, C = 0) and a mode, "major" or "minor"."""

    tonic: int
    mode: str

    @property
    def name(self) -> str:
        """The key as `mir_eval.key` reads it, such as "Eb major"."""
        return f"{TONICS[self.mode][self.tonic]} {self.mode}"

    @property
    def scale(self) -> tuple[int, ...]:
        """The seven pitch classes of the key (natural minor when the mode is minor)."""
        return tuple((self.tonic + step) % 12 for step in SCALES[self.mode])


KEYS = tuple(Tonality(tonic, mode) for mode in SCALES for tonic in range(12))


@dataclass(frozen=True)
class Chord:
    """A root (pitch class) and the semitones of its notes above it."""

    root: int
    intervals: tuple[int, ...]

    @property
    def classes(self) -> tuple[int, ...]:
        return tuple((self.root + interval) % 12 for interval in self.intervals)

    def degree(self, which: str) -> int:
        """Semitones above the root of the chord's "3", "5" or "7" (a sixth or an octave stands in for the seventh)."""
        if which == "7":
            return self.intervals[3] if len(self.intervals) > 3 and self.intervals[3] < 12 else 12
        return self.intervals[{"3": 1, "5": 2}[which]]


def chord(numeral: str, key: Tonality) -> Chord:
    """The chord that a Roman numeral means in a key.

    Upper case has a major third, lower case a minor one; degrees in minor are those of the natural minor scale, so that
    "V7" is the dominant of either mode and "VII" the subtonic of minor. Suffixes are the keys of `QUALITIES`.

    Raises:
        ValueError: the numeral cannot be read.
    """
    match = NUMERAL.fullmatch(numeral)
    if not match or match[2].upper() not in ROMAN or match[3] not in QUALITIES:
        raise ValueError(f"chord {numeral!r}: expected a Roman numeral with one of the suffixes {sorted(QUALITIES)}")
    accidental, roman, suffix = match.groups()
    root = key.scale[ROMAN[roman.upper()]] + {"": 0, "b": -1, "#": 1}[accidental]
    return Chord(root % 12, QUALITIES[suffix][roman.islower()])


def progression(text: str, key: Tonality) -> list[list[Chord]]:
    """Bars of chords from text such as "ii7 V7 | Imaj7": bars parted by `|`, chords of one bar by blanks."""
    return [[chord(numeral, key) for numeral in bar.split()] for bar in text.split("|")]


def voice(harmony: Chord, previous: Sequence[int], centre: float) -> tuple[int, ...]:
    """A close voicing (MIDI pitches, ascending) that moves least from the previous one and stays near `centre`.

    Five-note chords drop their fifth. Without a previous voicing the nearest to the centre is taken.
    """
    classes = harmony.classes if len(harmony.intervals) < 5 else harmony.classes[:2] + harmony.classes[3:]
    best, least = (), float("inf")
    for turn, octave in itertools.product(range(len(classes)), range(2, 8)):
        pitch, pitches = 12 * octave + classes[turn], []
        for following in classes[turn:] + classes[:turn]:
            pitch += (following - pitch) % 12
            pitches.append(pitch)
        cost = 1.5 * abs(sum(pitches) / len(pitches) - centre)
        cost += sum(min(abs(pitch - other) for other in previous) for pitch in pitches) if previous else 0
        if cost < least:
            best, least = tuple(pitches), cost
    return best


def nearest(pitch: float, classes: Sequence[int]) -> int:
    """The MIDI pitch nearest to `pitch` whose class is among `classes` (the lower one of two equally near)."""
    return min(
        (candidate for candidate in range(int(pitch) - 12, int(pitch) + 14) if candidate % 12 in classes),
        key=lambda candidate: (abs(candidate - pitch), candidate),
    )
