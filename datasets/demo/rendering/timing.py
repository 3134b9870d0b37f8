"""Other times for a piece: another tempo, rubato, players who are not quite together. Beats move with the notes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from datasets.demo.rendering.grid import Grid
from datasets.demo.rendering.piece import MidiPart, MidiPiece, Warp
from datasets.demo.synth import Note

SLOWEST, FASTEST = 45.0, 215.0  # BPM that a change of tempo aims to stay within
SHORTEST_BEAT = 0.2  # seconds, under any rubato
SPREAD = 2.5  # standard deviations that a player is late or early at most


def scale(rng: random.Random, tempo: float, low: float, high: float) -> float:
    """How many times faster a piece is played: log-uniform from `low` to `high`, kept within sensible tempi."""
    factor = math.exp(rng.uniform(math.log(low), math.log(high)))
    if not SLOWEST <= tempo * factor <= FASTEST:
        factor = min(max(factor, SLOWEST / tempo), FASTEST / tempo)
        factor = min(max(factor, low), high)
    return factor


def faster(factor: float) -> Warp:
    """The warp of a steady change of tempo."""
    return lambda times: np.asarray(times, np.float64) / factor


def between(before: np.ndarray, after: np.ndarray) -> Warp:
    """The warp that takes beats from their times before to those after; linear between, and beyond both ends.

    Args:
        before, after: Seconds `[beats]`, ascending, two at least.
    """

    def warp(times: np.ndarray) -> np.ndarray:
        """Seconds before to seconds after."""
        times = np.asarray(times, np.float64)
        place = np.clip(np.searchsorted(before, times, side="right") - 1, 0, len(before) - 2)
        part = (times - before[place]) / (before[place + 1] - before[place])
        return after[place] + part * (after[place + 1] - after[place])

    return warp


def rubato(rng: random.Random, grid: Grid, depth: float) -> np.ndarray:
    """Beat times of a free performance: phrases that grow and yield, ritardandi at their ends, long and short beats.

    Phrases of two to eight bars follow a parabola, slow at both ends (after Todd, "A model of expressive timing in
    tonal music", 1985). Between them the tempo drifts.

    Args:
        depth: Standard deviation of the tempo, in parts of it, about; 0.05 is sober, 0.25 romantic.

    Returns:
        Seconds `[beats]`, ascending; the first is as before.
    """
    count = len(grid) - 1
    curve = np.zeros(count)  # logarithm of how much longer a beat lasts
    first = 0
    drift = 0.0
    while first < count:
        last = min(count, first + max(2, _bar(grid, first) * rng.choice((2, 4, 4, 8))))
        place = np.linspace(-1, 1, last - first)
        drift = 0.7 * drift + rng.gauss(0, 0.7 * depth)
        curve[first:last] = drift + depth * rng.uniform(0, 1.6) * (place**2 - 1 / 3)
        if rng.random() < 0.5:  # the last beats of the phrase are held back
            held = min(rng.choice((1, 2, 3)), last - first)
            curve[last - held : last] += depth * rng.uniform(0.5, 3) * np.linspace(1 / held, 1, held)
        first = last
    curve += depth * 0.3 * np.array([rng.gauss(0, 1) for _ in range(count)])
    longer = rng.uniform(-0.2, 0.5) * depth  # downbeats are dwelt on, or not
    curve += longer * (grid.positions[:count] == 1)
    lengths = np.maximum(np.diff(grid.times) * np.exp(curve), SHORTEST_BEAT)
    return grid.times[0] + np.concatenate(([0.0], np.cumsum(lengths)))


def drifting(rng: random.Random, grid: Grid, depth: float) -> np.ndarray:
    """Beat times of a band without a click: the tempo sways slowly and each beat a little, by `depth` about."""
    count = len(grid) - 1
    beats = np.arange(count)
    curve = np.zeros(count)
    for _ in range(3):
        period, phase = rng.uniform(12, 100), rng.uniform(0, 2 * math.pi)
        curve += depth * rng.uniform(0.2, 1) * np.sin(2 * math.pi * beats / period + phase)
    curve += 0.2 * depth * np.array([rng.gauss(0, 1) for _ in range(count)])
    return grid.times[0] + np.concatenate(([0.0], np.cumsum(np.diff(grid.times) * np.exp(curve))))


def stepped(rng: random.Random, grid: Grid) -> np.ndarray:
    """Beat times of a piece that goes on at another tempo from some bars on, up to 30 % slower or faster."""
    lengths = np.diff(grid.times)
    for bar in rng.sample(grid.bars(), min(rng.choice((1, 2)), len(grid.bars()))):
        lengths[bar[0] :] *= math.exp(rng.uniform(-0.26, 0.26))
    return grid.times[0] + np.concatenate(([0.0], np.cumsum(lengths)))


def swung(grid: Grid, point: float, halves: int = 2) -> Warp:
    """The warp that plays straight notes with a swing: the second half of every unit begins at `point` of it.

    Args:
        point: 0.5 is straight, 2/3 a triplet.
        halves: Notes a beat that are made uneven in pairs: 2 swings eighths, 4 sixteenths.
    """
    units = halves // 2
    steps = np.arange(len(grid) * 2 * units) / (2 * units)
    before = np.interp(steps, np.arange(len(grid)), grid.times)
    moved = steps + np.where(np.arange(len(steps)) % 2 == 1, (point - 0.5) / units, 0.0)
    inside = steps <= len(grid) - 1
    return between(before[inside], np.interp(moved[inside], np.arange(len(grid)), grid.times))


def humanised(rng: random.Random, piece: MidiPiece, looseness: float, touch: float) -> MidiPiece:
    """Players who are early or late by a habit of their own and by chance, and strike unevenly.

    Args:
        looseness: Standard deviation of the onsets, seconds.
        touch: Standard deviation of the velocities.
    """
    parts = []
    for part in piece.parts:
        habit = rng.gauss(0, looseness / 2)
        parts.append(replace(part, notes=_loosened(rng, part.notes, habit, looseness, touch)))
    return replace(piece, parts=tuple(parts))


def accented(rng: random.Random, part: MidiPart, grid: Grid, depth: float) -> MidiPart:
    """A part whose notes on downbeats and beats are louder, by `depth` parts of their velocity, and that swells."""
    if len(grid) < 2:
        return part
    period, phase = rng.uniform(3, 20), rng.uniform(0, 2 * math.pi)
    starts = np.array([note.start for note in part.notes])
    place = np.clip(np.searchsorted(grid.times, starts + 0.03) - 1, 0, len(grid) - 1)
    near = np.abs(starts - grid.times[place]) < 0.05
    weight = np.where(near, np.where(grid.positions[place] == 1, 1.0, 0.5), 0.0) - 0.3
    weight += 0.8 * np.sin(2 * math.pi * starts / period + phase)
    notes = tuple(
        note._replace(velocity=min(127, max(10, round(note.velocity * (1 + depth * more)))))
        for note, more in zip(part.notes, weight.tolist(), strict=True)
    )
    return replace(part, notes=notes)


def _loosened(
    rng: random.Random, notes: Sequence[Note], habit: float, looseness: float, touch: float
) -> tuple[Note, ...]:
    moved = []
    for note in notes:
        late = habit + looseness * min(SPREAD, max(-SPREAD, rng.gauss(0, 1)))
        velocity = min(127, max(10, round(note.velocity + touch * rng.gauss(0, 1))))
        moved.append(note._replace(start=max(0.0, note.start + late), velocity=velocity))
    return tuple(sorted(moved))


def _bar(grid: Grid, beat: int) -> int:
    return grid.meters[beat].beats
