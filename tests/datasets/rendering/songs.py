"""MIDI files that the tests of the renderer write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import symusic

TPQ = 480


def song(
    path: Path,
    meters: Sequence[tuple[int, int, int]] = ((0, 4, 4),),
    tempos: Sequence[tuple[float, float]] = ((0, 120.0),),
    quarters: int = 48,
    drum: bool = False,
    key: tuple[int, int] | None = (0, 0),
) -> Path:
    """Write a MIDI file with a note on every quarter, chords below them, and nothing random.

    Args:
        meters: Quarter at which it begins, numerator, denominator.
        tempos: Quarter, BPM of quarters.
        drum: Drums alone, in place of a melody over chords.
        key: Sharps, and 1 for minor.
    """
    score = symusic.Score(TPQ)
    for quarter, tempo in tempos:
        score.tempos.append(symusic.Tempo(round(TPQ * quarter), tempo))
    for quarter, numerator, denominator in meters:
        score.time_signatures.append(symusic.TimeSignature(round(TPQ * quarter), numerator, denominator))
    if key is not None:
        score.key_signatures.append(symusic.KeySignature(0, *key))
    melody, chords = symusic.Track("melody", 73, drum), symusic.Track("chords", 0, False)
    for quarter in range(quarters):
        pitch = (36, 42, 38, 42)[quarter % 4] if drum else 72 + (0, 2, 4, 7)[quarter % 4]
        melody.notes.append(symusic.Note(TPQ * quarter, TPQ // 2, pitch, 100))
        if quarter % 4 == 0:
            for pitch in (48, 52, 55):
                chords.notes.append(symusic.Note(TPQ * quarter, 4 * TPQ, pitch, 80))
    score.tracks.append(melody)
    if not drum:
        score.tracks.append(chords)
    path.parent.mkdir(parents=True, exist_ok=True)
    score.dump_midi(path)
    return path
