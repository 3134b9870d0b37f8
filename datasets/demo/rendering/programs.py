"""Which instruments take the parts of a piece, and how loud they are beside one another."""

from __future__ import annotations

import random

from datasets.demo.rendering.piece import MidiPart

MELODY = {  # General MIDI programs, 0-127, and how likely their family takes the part
    (0, 1, 2, 3): 3,
    (4, 5, 6, 7): 2,
    (8, 9, 10, 11, 12, 13, 14): 1.5,
    (16, 17, 18, 19, 20, 21, 22, 23): 1.5,
    (24, 25, 26, 27, 28): 2,
    (29, 30, 31): 1.5,
    (40, 41, 42, 46): 2,
    (52, 53, 54): 1.5,
    (56, 57, 58, 59, 60): 2,
    (64, 65, 66, 67, 68, 69, 71): 2,
    (72, 73, 74, 75, 78, 79): 2,
    (80, 81, 82, 83, 84, 85, 87): 3,
    (104, 105, 106, 107, 108, 109, 110, 111, 114): 1.5,
}
CHORDS = {
    (0, 1, 2, 3): 4,
    (4, 5, 6, 7): 3,
    (11, 12, 13): 1,
    (16, 17, 18, 19, 20, 21): 2,
    (24, 25, 26, 27, 28): 4,
    (29, 30): 2,
    (40, 44, 45, 46, 48, 49, 50, 51): 2,
    (52, 53, 54): 0.5,
    (61, 62, 63): 1,
    (80, 81, 84, 87): 1,
    (88, 89, 90, 91, 92, 93, 94, 95): 2,
    (105, 106, 107, 108): 1,
}
BASS = {(32, 33, 34, 35): 6, (36, 37): 1, (38, 39): 3, (0, 43, 58, 87): 0.5}
PIANO = {(0, 1): 8, (2, 3): 1.5, (6,): 0.4, (4, 5): 0.4}  # of a solo pianist
KITS = (0, 8, 16, 24, 25, 32, 40)
BY_ROLE = {"melody": MELODY, "chords": CHORDS, "bass": BASS}
LEVELS = {"melody": -1.0, "chords": -4.0, "bass": -3.0, "drums": -1.0}  # dB
SPREAD = 3.5  # dB, standard deviation
DRUM_GROUPS = {  # keys of a kit that are turned up or down together
    "kick": (35, 36),
    "snare": (37, 38, 39, 40),
    "toms": (41, 43, 45, 47, 48, 50),
    "hats": (42, 44, 46),
    "cymbals": (49, 51, 52, 53, 55, 57, 59),
}


def drawn(rng: random.Random, families: dict[tuple[int, ...], float]) -> int:
    """A program: a family by its weight, then one of it."""
    return rng.choice(rng.choices(list(families), list(families.values()))[0])


def program(rng: random.Random, part: MidiPart, keep: float = 0.0) -> int:
    """A program for a part, for drums a kit; with probability `keep` the one it has."""
    if rng.random() < keep:
        return part.program
    return rng.choice(KITS) if part.drum else drawn(rng, BY_ROLE[part.role])


def level(rng: random.Random, role: str) -> float:
    """dB of a part."""
    return LEVELS[role] + rng.gauss(0, SPREAD)


def rebalanced(rng: random.Random, part: MidiPart) -> MidiPart:
    """A drum part whose groups of keys are turned up or down against each other."""
    gains = {name: 10 ** (rng.gauss(0, 4) / 20) for name in DRUM_GROUPS}
    if rng.random() < 0.08:
        gains[rng.choice(("kick", "snare", "hats"))] = 0.1
    by_key = {key: gains[name] for name, keys in DRUM_GROUPS.items() for key in keys}
    notes = tuple(note._replace(gain=note.gain * by_key.get(note.pitch, 1.0)) for note in part.notes)
    return MidiPart(notes, part.program, part.drum, part.role)
