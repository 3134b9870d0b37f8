"""A MIDI file, and what lies beside it -> a piece with its truth.

Beats follow the tempo map and the time signatures of the file, unless a file of beats lies beside it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import symusic

from datasets.demo.errors import DemoError
from datasets.demo.midi import read_score, track_notes
from datasets.demo.rendering import beside
from datasets.demo.rendering.grid import Grid, Meter
from datasets.demo.rendering.piece import KeySpan, MidiPart, MidiPiece
from datasets.demo.synth import Note

DEFAULT_TEMPO, DEFAULT_METER = 120.0, Meter(4, 4)  # of a MIDI file that does not say
MOST_BEATS = 100_000  # of one file; more are a damaged tempo map
LARGEST_METER = 64  # numerator and denominator
BASS_PROGRAMS = range(32, 40)
LOW = 48  # mean pitch below which a part is the bass
VOICES = 1.6  # notes that sound at once from which a part plays chords
LONGEST_HELD = 10.0  # seconds
TOGETHER = 0.05  # seconds by which notes of a melody may overlap
GENERAL_MIDI = {  # keys of Roland's electronic drums that General MIDI does not have: rims, edges, the open hi-hat
    22: 42,
    26: 46,
    58: 43,
}


def read_piece(path: Path, root: Path) -> MidiPiece:
    """Read one MIDI file below a folder.

    Raises:
        DemoError: It, or what lies beside it, cannot be read; or it has no notes, or lasts too long.
    """
    score = read_score(path)
    ticks = symusic.Score(path)
    seconds = clock(ticks)
    found = beside.find(path, beside.BEATS, root)
    grid = beside.read_beats(found) if found else grid_of(ticks, seconds)
    labels = beside.find(path, beside.KEYS, root)
    keys = beside.read_keys(labels) if labels else keys_of(ticks, seconds, score.end())
    row = beside.row_of(path, root)
    parts = parts_of(score)
    return MidiPiece(
        name=path.relative_to(root).as_posix(),
        parts=parts,
        grid=grid,
        keys=() if all(part.drum for part in parts) else keys,
        style=row.get("style") or row.get("genre", ""),
        split=row.get("split", ""),
    )


def parts_of(score: symusic.core.ScoreSecond) -> tuple[MidiPart, ...]:
    """The tracks that have notes, with what each plays."""
    parts = []
    for track in score.tracks:
        notes = tuple(sorted(track_notes(track)))
        if not notes:
            continue
        notes = held(notes)
        if track.is_drum:
            notes = tuple(note._replace(pitch=GENERAL_MIDI.get(note.pitch, note.pitch)) for note in notes)
        parts.append(MidiPart(notes, track.program, track.is_drum, "drums" if track.is_drum else role(track)))
    return tuple(parts)


def held(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """Notes that end where their key is struck again, and after `LONGEST_HELD`: some pedals are never let go."""
    ended = []
    following: dict[int, float] = {}
    for note in reversed(notes):
        again = following.get(note.pitch, math.inf) - note.start
        longest = min(LONGEST_HELD, again) if again > 0 else LONGEST_HELD
        ended.append(note._replace(duration=min(note.duration, longest)))
        following[note.pitch] = note.start
    return tuple(reversed(ended))


def role(track: symusic.core.TrackSecond) -> str:
    """What a track plays, by its program and its notes: "bass", "chords" or "melody"."""
    if track.program in BASS_PROGRAMS:
        return "bass"
    begun = np.sort([note.time for note in track.notes])
    ended = np.sort([note.time + note.duration for note in track.notes])
    sounding = 1 + np.arange(len(begun)) - np.searchsorted(ended, begun + TOGETHER)  # with each note that begins
    if sounding.mean() >= VOICES:
        return "chords"
    return "bass" if np.mean([note.pitch for note in track.notes]) < LOW else "melody"


def clock(score: symusic.core.ScoreTick) -> tuple[np.ndarray, np.ndarray]:
    """The tempo map: ticks at which the tempo changes, and their seconds; both end behind the last note."""
    changes = {0: DEFAULT_TEMPO}
    for tempo in score.tempos:
        if tempo.qpm > 0:
            changes[max(0, tempo.time)] = tempo.qpm
    last = max(score.end(), *changes) + 1
    ticks = np.array([*sorted(changes), last], np.float64)
    rates = np.array([60.0 / changes[tick] for tick in sorted(changes)]) / score.tpq
    return ticks, np.concatenate(([0.0], np.cumsum(np.diff(ticks) * rates)))


def grid_of(score: symusic.core.ScoreTick, seconds: tuple[np.ndarray, np.ndarray]) -> Grid:
    """Beats by the time signatures: a new one begins a new bar.

    Raises:
        DemoError: There are more beats than music can have.
    """
    signatures = {0: DEFAULT_METER}
    for mark in score.time_signatures:
        if 0 < mark.numerator <= LARGEST_METER and 0 < mark.denominator <= LARGEST_METER:
            signatures[max(0, mark.time)] = Meter(mark.numerator, mark.denominator)
    starts = sorted(signatures)
    ticks, positions, meters = [], [], []
    for start, end in zip(starts, [*starts[1:], score.end() + 1], strict=True):
        meter = signatures[start]
        step = meter.quarters * score.tpq
        count = max(0, int(np.ceil((end - start) / step - 1e-9)))
        if len(meters) + count > MOST_BEATS:
            raise DemoError(f"has more than {MOST_BEATS} beats; its tempo or its time signatures are damaged")
        ticks.append(start + step * np.arange(count))
        positions.append(np.arange(count) % meter.beats + 1)
        meters += [meter] * count
    return Grid(np.interp(np.concatenate(ticks), *seconds), np.concatenate(positions), tuple(meters))


def keys_of(score: symusic.core.ScoreTick, seconds: tuple[np.ndarray, np.ndarray], end: float) -> tuple[KeySpan, ...]:
    """Keys by the key signatures of a MIDI file."""
    marks = {mark.time: ((7 * mark.key + 9 * mark.tonality) % 12, bool(mark.tonality)) for mark in score.key_signatures}
    times = [float(np.interp(tick, *seconds)) for tick in sorted(marks)]
    ends = [*times[1:], max([end, *times])]
    return tuple(
        KeySpan(start, stop, *marks[tick]) for tick, start, stop in zip(sorted(marks), times, ends, strict=False)
    )
