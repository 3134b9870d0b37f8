"""Seed and number -> a piece: notes in seconds, and everything that is true of them. No audio, no files."""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from datasets.demo.styles import FAMILIES, GENRES, KIT, LEVELS, PRESENCE, ROLES, STYLES, Family, Style
from datasets.demo.synth import Note
from datasets.demo.theory import KEYS, Chord, Tonality, nearest, progression, voice

VERSION = 2  # raise with every change of a note: the version seeds the composer and names the cached corpus
STEPS = 4  # grid steps a beat
SLOWEST, FASTEST = 60.0, 180.0
VELOCITY = {"X": 112, "x": 94, "o": 62}
RESTS = ".-"


@dataclass(frozen=True)
class Part:
    """One instrument or one voice of the kit: its role, family (tag), and level in dB against the other parts."""

    role: str
    family: str
    program: int
    level: float
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Piece:
    """A composed piece. One hears it from `start` to `start + seconds` on the clock of its notes and beats.

    Attributes:
        beats: times of all beats in seconds, ascending; the first is a downbeat.
        chords: the chords of each bar.
        loudness: RMS of the mix to aim at, in dB below full scale.
    """

    style: str
    key: Tonality
    meter: int
    beats: tuple[float, ...]
    chords: tuple[tuple[Chord, ...], ...]
    parts: tuple[Part, ...]
    start: float
    seconds: float
    loudness: float


@dataclass(frozen=True)
class Sketch:
    """What the parts of one piece agree on before a note is written."""

    rng: random.Random
    style: Style
    key: Tonality
    bars: tuple[tuple[Chord, ...], ...]
    clock: Callable[[float], float]  # beats -> seconds, with tempo drift and swing
    looseness: float  # standard deviation of the onsets in seconds

    @property
    def steps(self) -> int:
        return self.style.beats * STEPS

    def chord_at(self, step: int) -> Chord:
        """The chord that sounds at a step counted from the start of the piece."""
        bar, within = divmod(step, self.steps)
        chords = self.bars[min(bar, len(self.bars) - 1)]
        return chords[within * len(chords) // self.steps]

    def note(self, step: float, length: float, pitch: int, symbol: str) -> Note:
        """A played note: a step and a length on the grid, loosened in time and velocity."""
        begin, end = self.clock(step / STEPS), self.clock((step + length) / STEPS)
        late = max(-2.0, min(2.0, self.rng.gauss(0, 1))) * self.looseness
        velocity = round(VELOCITY.get(symbol, VELOCITY["x"]) + self.rng.gauss(0, 5))
        return Note(max(0.0, begin + late), max(0.06, 0.92 * (end - begin)), pitch, max(20, min(127, velocity)))


def compose(seed: int, index: int, seconds: float) -> Piece:
    """Compose piece number `index` of the corpus `seed`. The same arguments always give the same piece.

    Styles follow one another in order; the 24 keys come from shuffled packs, so that each comes once in 24 pieces.
    """
    rng = random.Random(f"ostinato/{VERSION}/{seed}/{index}")
    name = GENRES[index % len(GENRES)]
    style = STYLES[name]
    pack = random.Random(f"ostinato/{VERSION}/{seed}/keys/{index // len(KEYS)}").sample(KEYS, len(KEYS))
    key = pack[index % len(KEYS)]
    tempo = math.exp(rng.uniform(*(math.log(bound) for bound in style.tempo)))
    bar = 60.0 * style.beats / tempo
    start = rng.uniform(0, bar)
    count = math.ceil((start + seconds) / bar * 1.05) + 1
    beats = beat_times(rng, tempo, count * style.beats + 1)
    harmony = progression(rng.choice(style.major if key.mode == "major" else style.minor), key)
    bars = tuple(tuple(harmony[number % len(harmony)]) for number in range(count))
    clock = swung(beats, rng.uniform(*style.swing), style.swing_unit)
    sketch = Sketch(rng, style, key, bars, clock, looseness=rng.uniform(0.001, 0.009))
    return Piece(
        style=name,
        key=key,
        meter=style.beats,
        beats=beats,
        chords=bars,
        parts=tuple(part for part in arrange(sketch) if part.notes),
        start=start,
        seconds=seconds,
        loudness=rng.uniform(-26.0, -17.0),
    )


def beat_times(rng: random.Random, tempo: float, count: int) -> tuple[float, ...]:
    """Beat times from 0 in seconds; in one piece of three the tempo sways slowly, by 4 % at most, within 60-180 BPM."""
    depth = rng.uniform(0.015, 0.04) if rng.random() < 1 / 3 else 0.0
    period, phase = rng.uniform(12, 32), rng.uniform(0, 2 * math.pi)
    times = [0.0]
    for beat in range(count - 1):
        swayed = tempo * (1 + depth * math.sin(2 * math.pi * beat / period + phase))
        times.append(times[-1] + 60.0 / max(SLOWEST, min(FASTEST, swayed)))
    return tuple(times)


def swung(beats: tuple[float, ...], point: float, unit: float) -> Callable[[float], float]:
    """The clock of a piece: beats -> seconds, where the second half of each unit begins at `point` of it."""

    def clock(position: float) -> float:
        """Seconds at a position in beats."""
        whole, rest = divmod(position / unit, 1.0)
        bent = 2 * rest * point if rest < 0.5 else point + (2 * rest - 1) * (1 - point)
        position = (whole + bent) * unit
        before = min(int(position), len(beats) - 2)
        return beats[before] + (position - before) * (beats[before + 1] - beats[before])

    return clock


def arrange(sketch: Sketch) -> Iterator[Part]:
    """Draw the instruments, in the same way for every style, and write their parts."""
    rng = sketch.rng
    playing = {role for role, share in PRESENCE.items() if rng.random() < share}
    if not playing & {"drums", "comp"}:
        playing.add("comp")
    taken: set[str] = set()
    for role in ("bass", "comp", "lead", "pad"):
        pool = {name: weight for name, weight in ROLES[role].items() if name not in taken}
        family = rng.choices(list(pool), list(pool.values()))[0]
        taken.add(family)
        program, level = rng.choice(FAMILIES[family].programs), LEVELS[role] + rng.gauss(0, 2.5)
        if role in playing:
            yield Part(role, family, program, level, tuple(WRITERS[role](sketch, family)))
    fill = rng.random() < 0.5
    for role, keys in KIT.items():
        pitch, level = rng.choice(keys), LEVELS[role] + rng.gauss(0, 2.0)
        if "drums" in playing:
            notes = tuple(drums(sketch, getattr(sketch.style, role), pitch, fill and role == "mid"))
            yield Part(role, "drums", 0, level, notes)


def hits(sketch: Sketch, patterns: tuple[str, ...]) -> Iterator[tuple[int, int, str]]:
    """The events of a part over the whole piece: (step, length in steps, symbol).

    Two of the style's patterns are drawn: the first is played in three bars of four, the second in the fourth.
    """
    usual, turn = sketch.rng.choice(patterns), sketch.rng.choice(patterns)
    for bar in range(len(sketch.bars)):
        pattern = turn if bar % 4 == 3 else usual
        parts = len(pattern) // sketch.steps
        within = pattern[(bar % parts) * sketch.steps :][: sketch.steps]
        for step, symbol in enumerate(within):
            if symbol not in RESTS:
                held = len(within[step + 1 :]) - len(within[step + 1 :].lstrip("-"))
                yield bar * sketch.steps + step, 1 + held, symbol


def drums(sketch: Sketch, patterns: tuple[str, ...], pitch: int, fill: bool) -> Iterator[Note]:
    """One voice of the kit; with `fill`, the last beat of every fourth bar leads into the next."""
    phrase = 4 * sketch.steps
    for step, length, symbol in hits(sketch, patterns):
        if not (fill and step % phrase >= phrase - STEPS):
            yield sketch.note(step, length, pitch, symbol)
    for end in range(phrase, len(sketch.bars) * sketch.steps + 1, phrase) if fill else ():
        for step, symbol in enumerate("xoxX"):
            yield sketch.note(end - STEPS + step, 1, pitch, symbol)


def bass(sketch: Sketch, family: str) -> Iterator[Note]:
    """A bass line: chord degrees near the last pitch, and steps that lead to the next root."""
    centre = sketch.rng.uniform(34, 42)
    root = round(centre)
    for step, length, symbol in hits(sketch, sketch.style.bass):
        harmony = sketch.chord_at(step)
        root = nearest((root + 2 * centre) / 3, (harmony.root,))
        if symbol == "a":
            target = nearest(root, (sketch.chord_at(step + length).root,))
            pitch = target + sketch.rng.choice((-1, -2, 1))
        else:
            pitch = root + {"R": 0, "8": 12}.get(symbol, 0) + (harmony.degree(symbol) if symbol in "357" else 0)
        yield sketch.note(step, length, folded(pitch, FAMILIES[family]), "x")


def comp(sketch: Sketch, family: str) -> Iterator[Note]:
    """Chords, or a broken chord, in voicings that move little."""
    centre = sketch.rng.uniform(55, 70)
    voicing: tuple[int, ...] = ()
    harmony = None
    for step, length, symbol in hits(sketch, sketch.style.comp):
        if sketch.chord_at(step) != harmony:
            harmony = sketch.chord_at(step)
            voicing = voice(harmony, voicing, centre)
        if symbol.isdigit():
            arpeggio = (*voicing, voicing[0] + 12)
            yield sketch.note(step, max(length, 2), arpeggio[int(symbol) - 1], "x")
        else:
            for pitch in voicing:
                yield sketch.note(step, length, pitch, symbol)


def lead(sketch: Sketch, family: str) -> Iterator[Note]:
    """A melody of two rhythmic motifs, whose contours come back over other chords: a b a c."""
    compass = FAMILIES[family]
    centre = min(max(sketch.rng.uniform(64, 78), compass.low + 7), compass.high - 7)
    motifs: dict[int, list[tuple[int, int, int]]] = {}
    pitch = nearest(centre, sketch.bars[0][0].classes)
    for bar in range(len(sketch.bars)):
        name = (0, 1, 0, 2)[bar % 4]
        if name not in motifs:
            motifs[name] = motif(sketch.rng, sketch.rng.choice(sketch.style.melody))
        for step, length, leap in motifs[name]:
            at = bar * sketch.steps + step
            pitch = melody_pitch(sketch, at, pitch + leap + 0.2 * (centre - pitch), strong=step % STEPS == 0)
            pitch = folded(pitch, compass)
            yield sketch.note(at, length, pitch, "x")


def folded(pitch: int, compass: Family) -> int:
    """The pitch, moved by octaves into the compass of a family."""
    while pitch > compass.high:
        pitch -= 12
    while pitch < compass.low:
        pitch += 12
    return pitch


def motif(rng: random.Random, rhythm: str) -> list[tuple[int, int, int]]:
    """A bar of melody before it has pitches: (step, length in steps, leap in semitones)."""
    found = []
    for step, symbol in enumerate(rhythm):
        if symbol not in RESTS:
            rest = rhythm[step + 1 :]
            found.append((step, 1 + len(rest) - len(rest.lstrip("-")), rng.choice((-5, -3, -2, -2, 0, 2, 2, 3, 4))))
    return found


def melody_pitch(sketch: Sketch, step: int, wish: float, strong: bool) -> int:
    """The pitch nearest to a wish: of the chord on the beat, else of the key unless it grates against the chord."""
    classes = sketch.chord_at(step).classes
    if strong:
        return nearest(wish, classes)
    passing = [tone for tone in sketch.key.scale if all((tone - member) % 12 not in (1, 11) for member in classes)]
    return nearest(wish, (*classes, *passing))


def pad(sketch: Sketch, family: str) -> Iterator[Note]:
    """Held chords, one voicing for each chord."""
    centre = sketch.rng.uniform(58, 68)
    voicing: tuple[int, ...] = ()
    for bar, chords in enumerate(sketch.bars):
        length = sketch.steps // len(chords)
        for number, harmony in enumerate(chords):
            voicing = voice(harmony, voicing, centre)
            for pitch in voicing:
                yield sketch.note(bar * sketch.steps + number * length, length, pitch, "x")


WRITERS: dict[str, Callable[[Sketch, str], Iterator[Note]]] = {"bass": bass, "comp": comp, "lead": lead, "pad": pad}


def audible(notes: tuple[Note, ...], piece: Piece) -> list[Note]:
    """The notes that begin within the audible part of a piece, by time."""
    ordered = sorted(notes)
    first = bisect.bisect_left(ordered, (piece.start,))
    return ordered[first : bisect.bisect_left(ordered, (piece.start + piece.seconds,))]
