"""What is true of a piece: tags, tempo, beats, arousal and valence, and the splits of the corpus."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median

from datasets.demo.compose import FASTEST, SLOWEST, Piece, audible
from datasets.demo.styles import TAGS

COLUMNS = ("path", "split", "tags", "genre", "key", "tempo", "meter", "arousal", "valence")
SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}
AUDIBLE_NOTES = 3
AUDIBLE_LEVEL = -22.0  # dB against the mix
TOGETHER = 0.03  # seconds within which onsets count as one


def beats(piece: Piece) -> list[tuple[float, int]]:
    """The audible beats: (seconds from the start of the audio, position in the bar from 1)."""
    shifted = ((time - piece.start, number % piece.meter + 1) for number, time in enumerate(piece.beats))
    return [(time, position) for time, position in shifted if 0 <= time < piece.seconds]


def tempo(piece: Piece) -> float:
    """Beats per minute: 60 over the median interval between audible beats."""
    times = [time for time, _ in beats(piece)]
    return 60.0 / median(later - earlier for earlier, later in pairwise(times))


def tags(piece: Piece, levels: Mapping[str, float]) -> list[str]:
    """The instrument families that one can hear: with enough notes, and a part not far below the mix (dB by role)."""
    sounding = set()
    for part in piece.parts:
        enough = len(audible(part.notes, piece)) >= AUDIBLE_NOTES
        if enough and levels.get(part.role, -100.0) >= AUDIBLE_LEVEL:
            sounding.add(part.family)
    return [name for name in TAGS if name in sounding]


def density(piece: Piece) -> float:
    """Onsets a second, all parts together; onsets that fall together count once."""
    times = sorted(note.start for part in piece.parts for note in audible(part.notes, piece))
    apart = sum(later - earlier > TOGETHER for earlier, later in pairwise(times))
    return (apart + bool(times)) / piece.seconds


def unit(value: float, low: float, high: float) -> float:
    """`value` mapped from low..high to 0..1, and clipped."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def arousal(piece: Piece) -> float:
    """Arousal in 1..9: 40 % tempo (60-180 BPM), 30 % onsets a second (1-11), 20 % loudness (-26 to -17 dB), 10 % drums.

    The directions are those of Gabrielsson and Lindström, "The role of structure in the musical expression of emotions"
    (2010): fast, busy and loud music is heard as more activated. The weights are ours.
    """
    drums = any(part.family == "drums" for part in piece.parts)
    share = 0.4 * unit(tempo(piece), SLOWEST, FASTEST) + 0.3 * unit(density(piece), 1, 11)
    return 1 + 8 * (share + 0.2 * unit(piece.loudness, -26, -17) + 0.1 * drums)


def valence(piece: Piece) -> float:
    """Valence in 1..9: 45 % major mode, 20 % share of chords with a major third, 20 % tempo, 15 % mean pitch (C3-C6).

    The directions are those of Gabrielsson and Lindström (2010): major mode, consonance, fast tempo and high register
    are heard as happier. The weights are ours.
    """
    chords = [chord for bar in piece.chords for chord in bar]
    bright = fmean(4 in chord.intervals for chord in chords)
    pitches = [note.pitch for part in piece.parts if part.family != "drums" for note in part.notes]
    high = unit(fmean(pitches), 48, 84) if pitches else 0.5
    share = 0.45 * (piece.key.mode == "major") + 0.2 * bright
    return 1 + 8 * (share + 0.2 * unit(tempo(piece), SLOWEST, FASTEST) + 0.15 * high)


def table_row(path: str, split: str, piece: Piece, levels: Mapping[str, float]) -> dict[str, str]:
    """The line of `tracks.csv` for a rendered piece."""
    return {
        "path": path,
        "split": split,
        "tags": ";".join(tags(piece, levels)),
        "genre": piece.style,
        "key": piece.key.name,
        "tempo": f"{tempo(piece):.3f}",
        "meter": f"{piece.meter}/4",
        "arousal": f"{arousal(piece):.3f}",
        "valence": f"{valence(piece):.3f}",
    }


def splits(genres: Sequence[str], seed: int) -> list[str]:
    """A split for every track, by genre: one fifth of each, and one track at least of three, to valid and to test."""
    assigned = [""] * len(genres)
    for genre in dict.fromkeys(genres):
        members = [index for index, other in enumerate(genres) if other == genre]
        random.Random(f"ostinato/splits/{seed}/{genre}").shuffle(members)
        held = max(round(SHARES["test"] * len(members)), len(members) >= 3)
        for place, index in enumerate(members):
            assigned[index] = "test" if place < held else "valid" if place < 2 * held else "train"
    return assigned
