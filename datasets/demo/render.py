"""Notes -> audio: scores through a soundfont, mixes of parts, and whole folders of MIDI files."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import symusic

from datasets.demo.compose import Part, Piece

SAMPLE_RATE = 22050
QUALITY = 4  # cubic interpolation

CEILING = 0.97  # largest sample of anything rendered
FADE = 0.01  # seconds at both ends of a cut


class DemoError(ValueError):
    """A soundfont, MIDI file or setting that the demo corpus cannot use; the message says which and what to do."""


def default_soundfont() -> Path:
    """The General MIDI soundfont in the `pretty_midi` package, found without importing it.

    Raises:
        DemoError: the package is not installed.
    """
    found = importlib.util.find_spec("pretty_midi")
    if found is None or found.origin is None:
        raise DemoError(
            "no soundfont: install pretty_midi, which ships one, or give the path to a General MIDI .sf2 file"
        )
    return Path(found.origin).with_name("TimGM6mb.sf2")


def check_soundfont(path: Path | str | None = None) -> Path:
    """The soundfont to use: `path`, or the default one.

    Raises:
        DemoError: there is no such file, or it is not a SoundFont 2 file.
    """
    path = default_soundfont() if path is None else Path(path).expanduser()
    if not path.is_file():
        raise DemoError(f"soundfont {path}: no such file; give the path to a General MIDI .sf2 file")
    with path.open("rb") as stream:
        head = stream.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise DemoError(
            f"soundfont {path}: not a SoundFont 2 file (it begins with {head!r}); give a General MIDI .sf2 file"
        )
    return path


def soundfont_hash(path: Path) -> str:
    """SHA-256 of a soundfont, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=16)
def _synthesizer(soundfont: Path, thread: int) -> symusic.Synthesizer:
    try:
        return symusic.Synthesizer(sf_path=str(soundfont), sample_rate=SAMPLE_RATE, quality=QUALITY)
    except RuntimeError as error:
        raise DemoError(f"soundfont {soundfont}: cannot be read ({error}); give a General MIDI .sf2 file") from error


def render_score(score: symusic.Score, soundfont: Path) -> np.ndarray:
    """A symusic score in any time unit -> mono float32 [samples] at `SAMPLE_RATE`, as loud as the synthesizer makes it."""
    return _synthesizer(soundfont, threading.get_ident()).render(score, stereo=False)[0]


def part_score(part: Part, end: float) -> symusic.Score:
    """One part as a score in seconds, without the notes that begin at `end` or later."""
    score = symusic.Score(480, ttype="second")
    track = symusic.Track(part.role, part.program, part.family == "drums", ttype="second")
    for note in part.notes:
        if note.start < end:
            track.notes.append(symusic.Note(note.start, note.duration, note.pitch, note.velocity, ttype="second"))
    score.tracks.append(track)
    return score


@dataclass(frozen=True)
class Mix:
    """A rendered piece: `audio` mono float32 [samples], and the level of each role in it in dB against the whole mix."""

    audio: np.ndarray
    levels: dict[str, float]


def render_piece(piece: Piece, soundfont: Path) -> Mix:
    """Render every part alone, bring each to its level, add them, and bring the sum to the loudness of the piece."""
    first, samples = round(piece.start * SAMPLE_RATE), round(piece.seconds * SAMPLE_RATE)
    stems: dict[str, np.ndarray] = {}
    for part in piece.parts:
        sound = render_score(part_score(part, piece.start + piece.seconds), soundfont)[first : first + samples]
        stem = np.zeros(samples, np.float32)
        stem[: len(sound)] = sound
        if (loudness := rms(stem)) > 0:
            stems[part.role] = stem * (10 ** (part.level / 20) / loudness)
    mixed = np.sum(list(stems.values()), axis=0)
    whole = rms(mixed)
    levels = {role: 20 * float(np.log10(rms(stem) / whole)) for role, stem in stems.items()}
    return Mix(master(mixed * (10 ** (piece.loudness / 20) / whole)), levels)


def rms(samples: np.ndarray) -> float:
    """Root mean square of an array."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def master(samples: np.ndarray) -> np.ndarray:
    """Fade both ends and turn down, if needed, to the ceiling."""
    ramp = np.linspace(0, 1, round(FADE * SAMPLE_RATE), dtype=np.float32)[: len(samples)]
    faded = samples.astype(np.float32)
    faded[: len(ramp)] *= ramp
    faded[len(faded) - len(ramp) :] *= ramp[::-1]
    return faded * min(1.0, CEILING / max(float(np.abs(faded).max()), 1e-9))


def write_audio(path: Path, samples: np.ndarray) -> None:
    """Write mono 16-bit FLAC, aside first, so that a file of this name is always whole. Same samples, same bytes."""
    aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    soundfile.write(aside, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    os.replace(aside, path)
