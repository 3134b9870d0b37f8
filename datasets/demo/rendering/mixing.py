"""The parts of a piece -> the sound of one clip of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from datasets.demo.errors import DemoError
from datasets.demo.render import CEILING, rms
from datasets.demo.rendering import effects, programs
from datasets.demo.rendering.electronic import Synthesizer
from datasets.demo.rendering.piece import MidiPiece
from datasets.demo.soundfont import open_soundfont
from datasets.demo.synth import perform

PATCHES = 64  # synthesizers and drum machines that there are
FADE = 0.01  # seconds at both ends


def mixed(
    rng: random.Random,
    piece: MidiPiece,
    start: float,
    seconds: float,
    rate: int,
    soundfonts: Sequence[Path],
    synthetic: float,
) -> np.ndarray:
    """Play every part by an instrument of its own, bring each to its level, and produce the sum.

    Args:
        start, seconds: The clip on the clock of the piece.
        synthetic: How often a part is played by a synthesizer.

    Returns:
        float32 `[samples]`, within -1 and 1.

    Raises:
        DemoError: Nothing is heard.
    """
    samples = round(seconds * rate)
    total = np.zeros(samples, np.float32)
    fonts = [open_soundfont(rng.choice(soundfonts)) for _ in range(2)]
    for part in piece.parts:
        bank = Synthesizer(rng.randrange(PATCHES)) if rng.random() < synthetic else rng.choice(fonts)
        dark = rng.choice((0, 1200, 2400))
        level = programs.level(rng, part.role)
        stem = perform(part.notes, partial(bank.zones, part.program, part.drum), start, samples, rate, dark)
        loudness = rms(stem)
        if loudness > 0:
            total += stem * np.float32(10 ** (level / 20) / loudness)
    if not 0 < rms(total) < np.inf:
        raise DemoError("silent with this soundfont")
    sound = effects.produced(rng, total, rate)
    ramp = np.linspace(0, 1, min(round(FADE * rate), samples), dtype=np.float32)
    sound[: len(ramp)] *= ramp
    sound[samples - len(ramp) :] *= ramp[::-1]
    return sound * np.float32(min(1.0, CEILING / np.abs(sound).max()))  # a codec may overshoot
