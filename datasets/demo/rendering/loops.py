"""A phrase over and over, and bars of another length than they were written in."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from datasets.demo.rendering.grid import Grid, Meter
from datasets.demo.rendering.piece import MidiPiece
from datasets.demo.synth import Note

LONGEST = 180.0  # seconds of a looped piece
EARLY, LATEST_EARLY = 0.15, 0.1  # beats before a cut at which a note belongs to what follows; seconds at most
OTHERS = {4: (3, 5, 3.5), 3: (4, 2, 2.5), 2: (3,)}  # beats of a bar -> beats that it may be given; halves are 7/8, 5/8


def repeated(rng: random.Random, piece: MidiPiece) -> MidiPiece:
    """One, two or four bars of a piece, which follow one another for three minutes; parts pause for some of them."""
    bars = piece.grid.bars()
    count = min(rng.choice((1, 1, 2, 2, 2, 4)), len(bars))
    first = rng.choice(_best(piece, bars[: len(bars) - count + 1]))
    start, end = _span(piece.grid, bars[first], bars[first + count - 1])
    late = _late(piece, start, end)
    start, end = start + late, end + late
    begin = bars[first][0]
    beats = bars[first + count - 1][0] + bars[first + count - 1][1] - begin
    rounds = max(4, int(LONGEST / (end - start)))
    steady = rng.random() < 0.85
    within = (
        (np.arange(beats) / beats * (end - start))
        if steady
        else piece.grid.times[begin : begin + beats] - piece.grid.times[begin]
    )
    times = np.concatenate([within + turn * (end - start) for turn in range(rounds)])
    grid = Grid(
        times,
        np.tile(piece.grid.positions[begin : begin + beats], rounds),
        piece.grid.meters[begin : begin + beats] * rounds,
    )
    parts = []
    for part in piece.parts:
        phrase = _cut(part.notes, start, end, _early(start, end, beats))
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


def another_meter(rng: random.Random, piece: MidiPiece) -> MidiPiece:
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
    early = min(LATEST_EARLY, EARLY * float(np.median(np.diff(piece.grid.times))))
    parts = []
    for part in piece.parts:
        notes: list[Note] = []
        begun = 0.0
        for start, end in pieces:
            cut = _cut(part.notes, start, end, early)
            notes += [note._replace(start=max(0.0, note.start + begun)) for note in cut]
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


def _best(piece: MidiPiece, bars: list[tuple[int, int]]) -> list[int]:
    """Numbers of the bars that a loop should begin with: most parts play, one of them at once, and not too little."""
    judged = []
    for bar in bars:
        start, end = _span(piece.grid, bar, bar)
        early = _early(start, end, bar[1])
        starts = [[note.start for note in _cut(part.notes, start, end, early)] for part in piece.parts]
        counts = [len(one) for one in starts]
        at_once = any(time < early for one in starts for time in one)
        judged.append((at_once, sum(count > 0 for count in counts), sum(counts)))
    best = max((one[:2] for one in judged), default=(False, 0))
    fitting = [number for number, one in enumerate(judged) if one[:2] == best]
    middle = sorted(judged[number][2] for number in fitting)[len(fitting) // 2]
    return [number for number in fitting if judged[number][2] >= middle]


def _late(piece: MidiPiece, start: float, end: float) -> float:
    """Seconds by which players are behind the beats of a stretch, the median; who cuts a loop cuts at what is heard."""
    times = piece.grid.times
    apart = float(np.median(np.diff(times)))
    notes = np.array([note.start for part in piece.parts for note in part.notes if start <= note.start < end])
    nearest = times[np.clip(np.searchsorted(times, notes - apart / 2), 0, len(times) - 1)]
    late = (notes - nearest)[np.abs(notes - nearest) < EARLY * apart]
    return float(np.median(late)) if len(late) else 0.0


def _early(start: float, end: float, beats: int) -> float:
    """Seconds before a cut at which a note of a player who is early belongs to what follows."""
    return min(LATEST_EARLY, EARLY * (end - start) / beats)


def _cut(notes: tuple[Note, ...], start: float, end: float, early: float) -> list[Note]:
    """The notes that begin in a stretch, counted from its start; none outlasts it."""
    return [
        note._replace(start=note.start - start, duration=min(note.duration, end - note.start))
        for note in notes
        if start - early <= note.start < end - early
    ]
