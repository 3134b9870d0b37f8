"""A piece -> its mix and the level of every part in it; audio files."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from datasets.demo.compose import Piece
from datasets.demo.synth import play
from datasets.demo.tones import SAMPLE_RATE

RENDERER = 4  # raise with every change of how a note sounds: the version names the cached corpus
CEILING = 0.97  # largest sample of anything rendered
FADE = 0.01  # seconds at both ends


@dataclass(frozen=True)
class Mix:
    """A rendered piece: `audio` mono float32 [samples], and the level of each role in it in dB against the whole."""

    audio: np.ndarray
    levels: dict[str, float]


def render_piece(piece: Piece, soundfont: Path) -> Mix:
    """Play every part alone, bring each to its level, add them, and bring the sum to the loudness of the piece."""
    samples = round(piece.seconds * SAMPLE_RATE)
    stems: dict[str, np.ndarray] = {}
    for part in piece.parts:
        stem = play(part.notes, part.program, part.family == "drums", soundfont, piece.start, samples)
        if (loudness := rms(stem)) > 0:
            stems[part.role] = stem * np.float32(10 ** (part.level / 20) / loudness)
    mixed = np.sum(list(stems.values()), axis=0)
    whole = rms(mixed)
    levels = {role: 20 * float(np.log10(rms(stem) / whole)) for role, stem in stems.items()}
    return Mix(master(mixed * np.float32(10 ** (piece.loudness / 20) / whole)), levels)


def rms(samples: np.ndarray) -> float:
    """Root mean square of an array."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def master(samples: np.ndarray, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Fade both ends and, if needed, turn down to the ceiling: float32 [samples]."""
    faded = samples.astype(np.float32)
    ramp = np.linspace(0, 1, min(round(FADE * rate), len(faded)), dtype=np.float32)
    faded[: len(ramp)] *= ramp
    faded[len(faded) - len(ramp) :] *= ramp[::-1]
    return faded * np.float32(min(1.0, CEILING / max(float(np.abs(faded).max()), 1e-9)))


def write_audio(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> None:
    """Write mono 16-bit FLAC, aside first, so that a file of this name is always whole. Same samples, same bytes."""
    aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    soundfile.write(aside, samples, rate, format="FLAC", subtype="PCM_16")
    os.replace(aside, path)
