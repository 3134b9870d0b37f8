"""A phrase over and over, and bars of another length than they were written in."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from datasets.demo.rendering.grid import Grid, Meter
from datasets.demo.rendering.piece import Part, Piece
from datasets.demo.synth import Note

LONGEST = 180.0  # seconds of a looped piece
EARLY = 0.04  # seconds before a cut at which a note belongs to what follows
OTHERS = {4: (3, 5, 3.5), 3: (4, 2, 2.5), 2: (3,)}  # beats of a bar -> beats that it may be given; halves are 7/8, 5/8


def repeated(rng: random.Random, piece: Piece) -> Piece:
    """One, two or four bars of a piece, which follow one another for three minutes; parts pause for some of them."""
    bars = piece.grid.bars()
    count = min(rng.choice((1, 1, 2, 2, 2, 4)), len(bars))
    begun = [
        sum(_notes_between(part, *_span(piece.grid, bars[first], bars[first])) > 0 for part in piece.parts)
        for first in range(len(bars) - count + 1)
    ]
    choices = [first for first, sounding in enumerate(begun) if sounding == max(begun)]
    first = rng.choice(choices)
    start, end = _span(piece.grid, bars[first], bars[first + count - 1])
    begin = bars[first][0]
    beats = bars[first + count - 1][0] + bars[first + count - 1][1] - begin
    rounds = max(4, int(LONGEST / (end - start)))
    steady = rng.random() < 0.85
    within = (np.arange(beats) / beats * (end - start)) if steady else piece.grid.times[begin : begin + beats] - start
    times = np.concatenate([within + turn * (end - start) for turn in range(rounds)])
    grid = Grid(
        times,
        np.tile(piece.grid.positions[begin : begin + beats], rounds),
        piece.grid.meters[begin : begin + beats] * rounds,
    )
    parts = []
    for part in piece.parts:
        phrase = _cut(part.notes, start, end)
        silent = _pauses(rng, rounds) if len(piece.parts) > 1 else set()
        notes = tuple(
            note._replace(start=max(0.0, note.start + turn * (end - start)))
            for turn in range(rounds)
            if turn not in silent
            for note in phrase
        )
        parts.append(replace(part, notes=notes))
    keys = tuple(replace(key, start=0.0, end=LONGEST * 2) for key in piece.keys if key.start <= start < key.end)
    return replace(piece, parts=tuple(part for part in parts if part.notes), grid=grid, keys=keys)


def another_meter(rng: random.Random, piece: Piece) -> Piece:
    """A piece whose bars are cut short, or whose last beat is heard again, so that it stands in another metre."""
    bars = piece.grid.bars()
    usual = max(OTHERS, key=lambda length: sum(bar[1] == length for bar in bars))
    wanted = rng.choice(OTHERS[usual])
    if any(meter.compound or meter.denominator > 4 for meter in piece.grid.meters):
        return piece
    pieces: list[tuple[float, float]] = []  # what is heard, on the old clock
    times: list[float] = []
    positions: list[int] = []
    meters: list[Meter] = []
    clock = 0.0
    units = 1 if wanted == int(wanted) else 2
    for first, length in bars:
        at = piece.grid.times[first : first + length + 1]
        if length != usual:
            stretches, edges, meter = [(at[0], at[-1])], at, piece.grid.meters[first]
        elif wanted > length:
            stretches, meter = [(at[0], at[-1]), (at[-2], at[-1])], Meter(int(wanted), 4)
            edges = np.append(at, 2 * at[-1] - at[-2])
        else:
            places = np.arange(round(wanted * units) + 1) / units
            edges = np.interp(places, np.arange(length + 1), at)
            stretches, meter = [(edges[0], edges[-1])], Meter(round(wanted * units), 4 * units)
        times += (clock + edges[:-1] - edges[0]).tolist()
        positions += range(1, len(edges))
        meters += [meter] * (len(edges) - 1)
        for stretch in stretches:
            pieces.append(stretch)
            clock += stretch[1] - stretch[0]
    parts = []
    for part in piece.parts:
        notes: list[Note] = []
        begun = 0.0
        for start, end in pieces:
            notes += [note._replace(start=max(0.0, note.start + begun)) for note in _cut(part.notes, start, end)]
            begun += end - start
        parts.append(replace(part, notes=tuple(sorted(notes))))
    grid = Grid(np.array(times), np.array(positions, np.int64), tuple(meters))
    keys = piece.keys[:1] if len({(key.tonic, key.minor) for key in piece.keys}) == 1 else ()
    keys = tuple(replace(key, start=0.0, end=clock) for key in keys)
    return replace(piece, parts=tuple(part for part in parts if part.notes), grid=grid, keys=keys)


def _pauses(rng: random.Random, rounds: int) -> set[int]:
    """Rounds in which a part is silent: in blocks of four, now and then."""
    return {turn + within for turn in range(0, rounds, 4) if rng.random() < 0.2 for within in range(4)}


def _span(grid: Grid, first: tuple[int, int], last: tuple[int, int]) -> tuple[float, float]:
    return float(grid.times[first[0]]), float(grid.times[last[0] + last[1]])


def _notes_between(part: Part, start: float, end: float) -> int:
    return sum(start - EARLY <= note.start < end - EARLY for note in part.notes)


def _cut(notes: tuple[Note, ...], start: float, end: float) -> list[Note]:
    """The notes that begin in a stretch, counted from its start; none outlasts it."""
    return [
        note._replace(start=note.start - start, duration=min(note.duration, end - note.start))
        for note in notes
        if start - EARLY <= note.start < end - EARLY
    ]
