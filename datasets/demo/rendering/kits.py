"""Drums that follow a grid of beats: patterns drawn for any metre, with fills, ghost notes, feels and breaks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from datasets.demo.rendering.grid import Grid, Meter
from datasets.demo.synth import Note

KICKS, SNARES, RIMS = (36, 36, 35), (38, 38, 40), (37, 39, 40)
CLOSED, PEDAL, OPEN, RIDE, BELL, CRASH = 42, 44, 46, 51, 53, 49
TOMS = (50, 48, 47, 45, 43, 41)
EXTRAS = (54, 56, 60, 61, 62, 63, 64, 69, 70, 75, 76, 77)  # tambourine, cowbell, bongos, congas, shakers, blocks
STRIKE = 0.1  # seconds that a hit is held
KICK_LIKELY = {  # in 4/4, by sixteenths: how likely a hit is beside those that the feel demands
    0: 0.95, 2: 0.05, 3: 0.15, 4: 0.1, 6: 0.3, 7: 0.2, 8: 0.5, 9: 0.1, 10: 0.4, 11: 0.15, 13: 0.1, 14: 0.2, 15: 0.08,
}  # fmt: skip
FEELS = {"backbeat": 9, "half": 2, "double": 1, "floor": 3, "dropped": 1.5, "sparse": 1.5, "rolling": 1}


@dataclass(frozen=True)
class Pattern:
    """What one bar plays: for each voice the steps and their velocities."""

    kick: dict[int, int]
    snare: dict[int, int]
    time: dict[int, tuple[int, int]]  # step -> (key, velocity)


@dataclass(frozen=True)
class Hit:
    """One stroke: beats from the start of the grid, key, velocity."""

    beat: float
    key: int
    velocity: int


def played(rng: random.Random, grid: Grid) -> tuple[Note, ...]:
    """A drummer who plays along with a grid: the same groove throughout, fills at phrase ends, sometimes another one.

    Args:
        grid: With known bars.
    """
    swing = rng.uniform(0.56, 0.68) if rng.random() < 0.2 else 0.5
    hits: list[Hit] = []
    kit = Drummer(rng)
    bars = grid.bars()
    phrase = rng.choice((4, 4, 8, 8, 2, 16))
    silent = set(_breaks(rng, len(bars), phrase))
    for number, (first, length) in enumerate(bars):
        if number in silent:
            continue
        meter = grid.meters[first]
        fill = number % phrase == phrase - 1 and rng.random() < kit.fills
        if number and number % phrase == 0 and rng.random() < 0.12:
            kit.change()
        crash = number % phrase == 0 and rng.random() < kit.crashes
        hits += kit.bar(meter, length, first, number % 2, fill, crash)
    return tuple(_notes(hits, grid, swing))


def _breaks(rng: random.Random, bars: int, phrase: int) -> Iterator[int]:
    """Bars in which the drums pause: an introduction, or a phrase now and then."""
    if rng.random() < 0.15:
        yield from range(rng.choice((1, 2, phrase)))
    for start in range(phrase, bars, phrase):
        if rng.random() < 0.04:
            yield from range(start, start + rng.choice((1, 2, phrase)))


def _notes(hits: list[Hit], grid: Grid, swing: float) -> Iterator[Note]:
    """Hits at the times of a grid, off-beats delayed by the swing."""
    order = np.arange(len(grid))
    for hit in sorted(hits, key=lambda hit: (hit.beat, hit.key)):
        whole, part = divmod(hit.beat, 1.0)
        if swing != 0.5 and not grid.meters[min(int(whole), len(grid) - 1)].compound:
            part = 2 * part * swing if part < 0.5 else swing + (2 * part - 1) * (1 - swing)
        yield Note(float(np.interp(whole + part, order, grid.times)), STRIKE, hit.key, hit.velocity)


class Drummer:
    """One drummer's habits, and patterns for the metres that come."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.fills = rng.choice((0.0, 0.5, 0.8, 1.0))
        self.crashes = rng.choice((0.0, 0.2, 0.5, 0.9))
        self.ghosts = rng.choice((0.0, 0.0, 0.1, 0.25))
        self.kick = rng.choice(KICKS)
        self.snare = rng.choice(SNARES) if rng.random() < 0.85 else rng.choice(RIMS)
        self.extra = rng.sample(EXTRAS, rng.choice((0, 0, 0, 1, 2)))
        self.change()

    def change(self) -> None:
        """Another groove from here on."""
        rng = self.rng
        self.feel = rng.choices(list(FEELS), list(FEELS.values()))[0]
        self.keeper = rng.choices((CLOSED, RIDE, PEDAL, OPEN, 0), (10, 4, 1, 1, 1.5))[0]
        self.density = rng.choices(("eighths", "sixteenths", "beats", "off"), (8, 4, 2, 1.5))[0]
        self.patterns: dict[tuple[Meter, int, int], Pattern] = {}

    def bar(self, meter: Meter, length: int, first: int, turn: int, fill: bool, crash: bool) -> Iterator[Hit]:
        """The hits of one bar of `length` beats that begins at beat `first` of the grid."""
        key = (meter, length, turn)
        if key not in self.patterns:
            same = self.patterns.get((meter, length, 1 - turn))
            self.patterns[key] = same if same and self.rng.random() < 0.6 else self.pattern(meter, length)
        pattern, steps = self.patterns[key], meter.steps
        until = length * steps - (self.rng.choice((1, 1, 2)) * steps if fill else 0)
        for voice, strokes in ((self.kick, pattern.kick), (self.snare, pattern.snare)):
            yield from (Hit(first + step / steps, voice, hard) for step, hard in strokes.items() if step < until)
        for step, (voice, hard) in pattern.time.items():
            if step < until and not (crash and step == 0):
                yield Hit(first + step / steps, voice, hard)
        if crash:
            yield Hit(first, CRASH, self.rng.randint(90, 120))
        if fill:
            yield from self.fill(first, max(0, until), length * steps, steps)

    def fill(self, first: int, start: int, end: int, steps: int) -> Iterator[Hit]:
        """From one step to another: snare or toms downwards."""
        rng = self.rng
        stride = rng.choice((1, 1, 2)) if steps > 2 else 1
        places = list(range(start, end, stride))
        around = rng.random() < 0.6
        for number, step in enumerate(places):
            if rng.random() < 0.12:
                continue
            voice = TOMS[number * len(TOMS) // len(places)] if around else self.snare
            hard = 75 + 45 * number // len(places) + rng.randint(-8, 8)
            yield Hit(first + step / steps, voice, min(127, hard))
            if rng.random() < 0.25 and (step - start) % 2 == 0:
                yield Hit(first + step / steps, self.kick, 95)

    def pattern(self, meter: Meter, length: int) -> Pattern:
        """A groove for a metre."""
        rng, steps = self.rng, meter.steps
        groups = grouped(rng, length, meter)
        kick = {group * steps: 110 for group in groups}
        snare: dict[int, int] = {}
        if length == 4 and steps == 4:
            kick = {step: 112 if step % 4 == 0 else 96 for step, share in KICK_LIKELY.items() if rng.random() < share}
            snare = {4: 112, 12: 112}
        elif meter.compound:
            snare = {beat * steps: 110 for beat in range(1, length, 2)} or {4: 105}
            kick = {beat * steps: 110 for beat in range(0, length, 2)}
            kick |= {step: 92 for step in (4, 10) if step < length * steps and rng.random() < 0.3}
        else:
            ends = [*groups[1:], length]
            snare = {(end - 1) * steps: 108 for end in ends if rng.random() < 0.85}
            if length == 3 and rng.random() < 0.5:
                snare |= {steps: 100, 2 * steps: 104}
            kick |= {rng.randrange(1, length * steps): 92} if rng.random() < 0.5 else {}
        kick, snare = self.felt(kick, snare, length, steps)
        for step in range(length * steps):
            if step not in snare and step not in kick and rng.random() < self.ghosts:
                snare[step] = rng.randint(22, 45)
        return Pattern(kick, snare, self.timekeeping(length, steps, meter.compound))

    def felt(
        self, kick: dict[int, int], snare: dict[int, int], length: int, steps: int
    ) -> tuple[dict[int, int], dict[int, int]]:
        """Bass drum and snare as the feel wants them."""
        rng, beats = self.rng, range(length)
        if self.feel == "half":
            snare = {(length // 2) * steps: 114}
        elif self.feel == "double":
            snare = {beat * steps + steps // 2: 108 for beat in beats}
            kick = {beat * steps: 108 for beat in beats}
        elif self.feel == "floor":
            kick = {beat * steps: 114 for beat in beats}
            snare = snare if rng.random() < 0.8 else {}
        elif self.feel == "dropped":  # no bass drum where the bar begins
            kick = {step: hard for step, hard in kick.items() if step} or {(length // 2) * steps: 108}
        elif self.feel == "sparse":
            snare = {} if rng.random() < 0.5 else snare
            kick = dict(list(kick.items())[:1])
        elif self.feel == "rolling":  # a march: the snare throughout
            snare = {
                step: rng.randint(95, 112) if step % steps == 0 else rng.randint(45, 75)
                for step in range(0, length * steps, max(1, steps // 4) * rng.choice((1, 2)))
                if rng.random() < 0.85
            }
        return kick, snare

    def timekeeping(self, length: int, steps: int, compound: bool) -> dict[int, tuple[int, int]]:
        """Hi-hat or ride, and small percussion."""
        rng = self.rng
        eighth = 2 if steps > 2 else 1
        stride = {"eighths": eighth, "sixteenths": max(1, eighth // 2), "beats": steps, "off": steps}[self.density]
        start = steps // 2 if self.density == "off" and not compound else 0
        opened = rng.random() < 0.25
        time: dict[int, tuple[int, int]] = {}
        for step in range(start, length * steps, stride) if self.keeper else ():
            hard = 92 if step % steps == 0 else 74 if step % eighth == 0 else 55
            voice = self.keeper
            if opened and voice == CLOSED and (step + eighth) % steps == 0 and rng.random() < 0.3:
                voice = OPEN
            elif voice == RIDE and step % steps == 0 and rng.random() < 0.1:
                voice = BELL
            time[step] = (voice, hard + rng.randint(-6, 6))
        for voice in self.extra:
            stride, start = rng.choice(((1, 0), (eighth, 0), (steps, steps // 2), (3, 0), (steps, 0)))
            time |= {
                step: (voice, rng.randint(55, 95)) for step in range(start, length * steps, stride) if step not in time
            }
        return time


def grouped(rng: random.Random, length: int, meter: Meter) -> list[int]:
    """Beats at which the groups of a bar begin: 7 as 2+2+3, 3+2+2 or 2+3+2, 5 as 3+2 or 2+3, 4 as 2+2."""
    if length <= 3 or meter.compound:
        return [0]
    sizes = [2] * (length // 2)
    if length % 2:
        sizes[rng.randrange(len(sizes))] += 1
    return [sum(sizes[:place]) for place in range(len(sizes))]
