"""A piece, a kind and a seed -> what is played in one clip: the kinds of music, and what is drawn for each."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from datasets.demo.rendering import basslines, kits, loops, programs, timing
from datasets.demo.rendering.grid import Grid, Meter, of_bars
from datasets.demo.rendering.piece import MidiPart, MidiPiece
from datasets.demo.rendering.plan import WRITTEN

ENOUGH = 8  # notes that make a part
SHORTEST = 12.0  # seconds of music, for a piece to be used
METERS = {(4, 4): 10, (3, 4): 4, (6, 8): 3, (5, 4): 1.5, (7, 8): 1.5, (2, 4): 1, (12, 8): 1, (9, 8): 0.5, (6, 4): 0.5}


@dataclass(frozen=True)
class ClipKind:
    """One kind of music.

    Attributes:
        needs: Whether a piece can be made into it.
        vary: Draws a variant: the piece, with all that moves it in time and pitch.
        share: Of the clips, where nobody says otherwise.
        synthetic: How often a part is played by a synthesizer in place of a soundfont.
    """

    needs: Callable[[MidiPiece], bool]
    vary: Callable[[random.Random, MidiPiece], MidiPiece]
    share: float
    synthetic: float


def drums_of(piece: MidiPiece) -> list[MidiPart]:
    """The drum parts with enough notes."""
    return [part for part in piece.parts if part.drum and len(part.notes) >= ENOUGH]


def pitched_of(piece: MidiPiece) -> list[MidiPart]:
    """The other parts with enough notes."""
    return [part for part in piece.parts if not part.drum and len(part.notes) >= ENOUGH]


def drums(rng: random.Random, piece: MidiPiece) -> MidiPiece:
    """Drums alone: those of the piece, or a drummer who plays to its beats or to a metre of their own."""
    parts, grid = drums_of(piece), piece.grid
    if not parts or rng.random() < 0.25:
        if not grid.barred or rng.random() < 0.6:
            grid = invented(rng, piece.end)
        parts = [MidiPart(kits.played(rng, grid), 0, True, "drums")]
        piece = replace(piece, style="")
    parts = [programs.rebalanced(rng, replace(part, program=programs.program(rng, part))) for part in parts]
    piece = replace(piece, parts=tuple(parts), grid=grid, keys=())
    return played_by_people(rng, at_tempo(rng, piece, 0.75, 1.35), drift=0.012)


def piano(rng: random.Random, piece: MidiPiece) -> MidiPiece:
    """A pianist alone, with rubato."""
    piece = transposed(rng, piece)
    parts = _without_some(rng, pitched_of(piece), 0.2)
    program = programs.drawn(rng, programs.PIANO)
    notes = tuple(sorted(note for part in parts for note in part.notes))
    part = MidiPart(notes, program, False, "chords")
    piece = at_tempo(rng, replace(piece, parts=(part,)), 0.6, 1.5, whole=True)
    if rng.random() < 0.6:
        piece = replace(piece, parts=tuple(pedalled(rng, part, piece.grid) for part in piece.parts))
    if rng.random() < 0.9:
        after = timing.rubato(rng, piece.grid, math.exp(rng.uniform(math.log(0.02), math.log(0.25))))
        piece = piece.warped(timing.between(piece.grid.times, after))
    depth = rng.uniform(0.0, 0.35)
    piece = replace(piece, parts=tuple(timing.accented(rng, part, piece.grid, depth) for part in piece.parts))
    return timing.humanised(rng, piece, rng.uniform(0.002, 0.018), rng.uniform(3, 14))


def band(rng: random.Random, piece: MidiPiece) -> MidiPiece:
    """Other instruments for the parts; bass and drums where the piece has none."""
    parts = _without_some(rng, pitched_of(piece), 0.2)
    piece = replace(piece, parts=(*parts, *drums_of(piece)))
    piece = at_tempo(rng, transposed(rng, piece), 0.75, 1.35, whole=True)
    if piece.grid.barred and rng.random() < 0.12:
        piece = loops.another_meter(rng, piece)
    if not drums_of(piece) and piece.grid.barred and rng.random() < 0.9:
        piece = accompanied(rng, piece, bass=0.75)
    elif rng.random() < 0.12:
        piece = replace(piece, parts=tuple(pitched_of(piece)) or piece.parts)
    if rng.random() < 0.12:
        piece = piece.warped(timing.swung(piece.grid, rng.uniform(0.54, 0.67), rng.choice((2, 4))))
    return played_by_people(rng, instrumented(rng, piece, keep=0.1), drift=0.01)


def score(rng: random.Random, piece: MidiPiece) -> MidiPiece:
    """The notes as they are written, on one instrument a part, evenly or by people who keep time."""
    piece = replace(piece, parts=tuple(pitched_of(piece)))
    piece = instrumented(rng, at_tempo(rng, transposed(rng, piece), 0.55, 1.4, whole=True), keep=0.1)
    if rng.random() < 0.15 and piece.grid.barred:
        piece = instrumented(rng, accompanied(rng, piece, bass=0.5), keep=1.0)
    if rng.random() < 0.4:
        return piece
    return played_by_people(rng, piece, drift=0.015)


def looped(rng: random.Random, piece: MidiPiece) -> MidiPiece:
    """A phrase of a few bars over and over, parts coming and going, at a tempo of a machine."""
    if not piece.grid.barred or (not drums_of(piece) and len(piece.grid.bars()) < 2):
        piece = replace(piece, grid=invented(rng, piece.end))
    piece = at_tempo(rng, transposed(rng, piece), 0.75, 1.4, whole=True)
    parts = _without_some(rng, pitched_of(piece), 0.3)
    if not parts or rng.random() < 0.75:
        parts += drums_of(piece)
    piece = replace(piece, parts=tuple(parts))
    if not drums_of(piece) and rng.random() < 0.85:
        piece = accompanied(rng, piece, bass=0.7)
    return loops.repeated(rng, instrumented(rng, piece, keep=0.0))


KINDS: dict[str, ClipKind] = {
    WRITTEN: ClipKind(lambda piece: True, lambda rng, piece: piece, 0.0, 0.0),  # the file as it is, from start to end
    "drums": ClipKind(lambda piece: bool(drums_of(piece)) or piece.grid.barred, drums, 0.2, 0.2),
    "piano": ClipKind(lambda piece: bool(pitched_of(piece)), piano, 0.2, 0.0),
    "band": ClipKind(lambda piece: bool(pitched_of(piece)), band, 0.35, 0.12),
    "score": ClipKind(lambda piece: bool(pitched_of(piece)), score, 0.15, 0.04),
    "loops": ClipKind(lambda piece: piece.grid.barred, looped, 0.1, 0.6),
}


def fit(piece: MidiPiece) -> tuple[str, ...]:
    """The kinds that a piece can be made into; as written alone where there is too little of it."""
    if len(piece.grid) < 4 or piece.end - piece.start < SHORTEST:
        return (WRITTEN,)
    return tuple(name for name, kind in KINDS.items() if kind.needs(piece))


def at_tempo(rng: random.Random, piece: MidiPiece, low: float, high: float, whole: bool = False) -> MidiPiece:
    """A piece from `low` to `high` times as fast. With `whole`, slow beats may be halved first."""
    tempo = 60.0 / float(np.median(np.diff(piece.grid.times)))
    if whole and tempo < 75 and rng.random() < (75 - tempo) / 30:
        piece = replace(piece, grid=halved(piece.grid))
        tempo *= 2
    return piece.warped(timing.faster(timing.scale(rng, tempo, low, high)))


def halved(grid: Grid) -> Grid:
    """A grid with beats between those of 4/4 and 2/4: one bar of two beats has four, one of four is two bars of four.

    Other metres stay as they are: six halves of three beats would be heard as two groups, not as three.
    """
    if not grid.barred or any(meter.compound or meter.beats not in (2, 4) for meter in grid.meters):
        return grid
    times = np.interp(np.arange(2 * len(grid) - 1) / 2, np.arange(len(grid)), grid.times)
    positions = grid.positions.repeat(2)[:-1]
    places = (2 * (positions - 1) + np.arange(len(times)) % 2) % 4 + 1
    return Grid(times, np.where(positions > 0, places, 0), (Meter(4, 4),) * len(times))


def invented(rng: random.Random, seconds: float) -> Grid:
    """Steady beats of a metre of their own, which may change on the way, for so many seconds."""
    tempo = math.exp(rng.uniform(math.log(65), math.log(180)))
    bars: list[tuple[Meter, int]] = []
    length = 0.0
    meter = Meter(*rng.choices(list(METERS), list(METERS.values()))[0])
    rate = tempo * (2 if meter.denominator == 8 and not meter.compound else 1)
    while length < max(60.0, min(seconds, 240.0)):
        count = rng.choice((8, 16, 32))
        bars.append((meter, count))
        length += count * meter.beats * 60.0 / min(rate, timing.FASTEST)
        if rng.random() < 0.06:
            others = [other for other in METERS if (other[1] == 8) == (meter.denominator == 8)]
            meter = Meter(*rng.choice(others))
    return of_bars(bars, min(rate, timing.FASTEST))


def transposed(rng: random.Random, piece: MidiPiece) -> MidiPiece:
    """A piece in one of the twelve keys about its own."""
    return piece.transposed(rng.randint(-6, 5))


def instrumented(rng: random.Random, piece: MidiPiece, keep: float) -> MidiPiece:
    """A piece whose parts have programs by what they play; drums are turned up or down piece by piece."""
    parts = []
    for part in piece.parts:
        changed = replace(part, program=programs.program(rng, part, keep))
        parts.append(programs.rebalanced(rng, changed) if part.drum else changed)
    return replace(piece, parts=tuple(parts))


def accompanied(rng: random.Random, piece: MidiPiece, bass: float) -> MidiPiece:
    """A piece with a drummer, and with probability `bass` a bass where it has none."""
    added = [MidiPart(kits.played(rng, piece.grid), 0, True, "drums")]
    pitched = pitched_of(piece)
    if pitched and not any(part.program in range(32, 40) for part in pitched) and rng.random() < bass:
        kick = sorted({note.start for part in added for note in part.notes if note.pitch in kits.KICKS})
        notes = basslines.played(rng, pitched, piece.grid, kick)
        added.append(MidiPart(notes, 33, False, "bass"))
    return replace(piece, parts=tuple(part for part in (*piece.parts, *added) if part.notes))


def played_by_people(rng: random.Random, piece: MidiPiece, drift: float) -> MidiPiece:
    """A tempo that drifts, or changes, and players who are not quite together; one clip in four keeps to the click."""
    if rng.random() < 0.05:
        piece = piece.warped(timing.between(piece.grid.times, timing.stepped(rng, piece.grid)))
    if rng.random() < 0.5:
        after = timing.drifting(rng, piece.grid, rng.uniform(0, drift))
        piece = piece.warped(timing.between(piece.grid.times, after))
    if rng.random() < 0.25:
        return piece
    return timing.humanised(rng, piece, rng.uniform(0.001, 0.012), rng.uniform(2, 12))


def pedalled(rng: random.Random, part: MidiPart, grid: Grid) -> MidiPart:
    """A part whose notes the pedal holds to the end of the bar, or of every second beat."""
    every = rng.choice((1, 2, 4))
    edges = grid.times[(grid.positions - 1) % every == 0] if every < 4 else grid.times[grid.positions == 1]
    if len(edges) < 2:
        return part
    starts = np.array([note.start for note in part.notes])
    ends = edges[np.clip(np.searchsorted(edges, starts + 0.08), 0, len(edges) - 1)]
    notes = tuple(
        note._replace(duration=max(note.duration, end - note.start))
        for note, end in zip(part.notes, ends.tolist(), strict=True)
    )
    return replace(part, notes=notes)


def _without_some(rng: random.Random, parts: list[MidiPart], share: float) -> list[MidiPart]:
    """The parts, each left out with some probability; one stays."""
    kept = [part for part in parts if rng.random() >= share]
    return kept or parts[-1:]
