"""Notes -> samples: every tone comes from a soundfont through symusic, and is shaped and added here.

The renderer of symusic plays each note at full level, stops it dead at its end, and knows no controllers. It is linear
and does not care where a note stands, so tones are rendered one by one, kept while a part is played, and given what
they lack: a level by velocity (amplitude goes with its square: SoundFont 2.04, section 8.4.1), a release, and a decay
for drums, which ring on whatever their written length.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import symusic

from datasets.demo.errors import DemoError

SAMPLE_RATE = 22050
QUALITY = 2  # of 0 to 4, how finely the renderer interpolates; 4 takes five times as long
RELEASE = 0.12  # seconds in which a pitched note dies away after its end
DRUM_RING = 0.9  # seconds after which a drum is silent
DRUM_DECAY = 0.22  # seconds in which a drum falls by a factor of e
TONE_STEP = 0.25  # seconds; tones are rendered in lengths of whole steps, so that notes can share them
TONES_KEPT = 256


class Note(NamedTuple):
    """One note: start and duration in seconds, MIDI pitch (a drum key for drums) and velocity."""

    start: float
    duration: float
    pitch: int
    velocity: float


def default_soundfont() -> Path:
    """The General MIDI soundfont in the `pretty_midi` package, found without importing it.

    Raises:
        DemoError: the package is not installed.
    """
    found = importlib.util.find_spec("pretty_midi")
    if found is None or found.origin is None:
        raise DemoError("no soundfont: install pretty_midi, which ships one, or give the path of a .sf2 file")
    return Path(found.origin).with_name("TimGM6mb.sf2")


def check_soundfont(path: Path | str | None = None) -> Path:
    """The soundfont to use: `path`, or the default one, found to be readable.

    Raises:
        DemoError: there is no such file, or it is not a SoundFont 2 file.
    """
    path = default_soundfont() if path is None else Path(path).expanduser()
    if not path.is_file():
        raise DemoError(f"soundfont {path}: no such file; give the path of a General MIDI .sf2 file")
    with path.open("rb") as stream:
        head = stream.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise DemoError(f"soundfont {path}: not a SoundFont 2 file; give the path of a General MIDI .sf2 file")
    _synthesizer(path)
    return path


def soundfont_hash(path: Path) -> str:
    """SHA-256 of a soundfont, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def play(notes: Iterable[Note], program: int, drum: bool, soundfont: Path, start: float, samples: int) -> np.ndarray:
    """Notes of one instrument -> mono float32 [samples] at `SAMPLE_RATE`, from `start` seconds on the notes' clock.

    Args:
        program: General MIDI program 0..127; for drums the kit.
        drum: whether pitches are keys of a drum kit.
    """
    tone = lru_cache(maxsize=TONES_KEPT)(partial(_tone, _synthesizer(soundfont), program, drum))
    sound = np.zeros(samples, np.float32)
    for note in notes:
        begin = round((note.start - start) * SAMPLE_RATE)
        if begin >= samples or begin + (note.duration + max(RELEASE, DRUM_RING)) * SAMPLE_RATE < 0:
            continue
        shaped = _drum_tone(note, tone) if drum else _pitched_tone(note, tone)
        cut = max(0, -begin)
        heard = shaped[cut : samples - begin]
        sound[begin + cut : begin + cut + len(heard)] += heard * np.float32((note.velocity / 127) ** 2)
    return sound


def _drum_tone(note: Note, tone: Callable[[int, float], np.ndarray]) -> np.ndarray:
    struck = tone(note.pitch, DRUM_RING)
    return struck * np.exp(np.arange(len(struck), dtype=np.float32) / (-DRUM_DECAY * SAMPLE_RATE))


def _pitched_tone(note: Note, tone: Callable[[int, float], np.ndarray]) -> np.ndarray:
    needed = note.duration + RELEASE
    shaped = tone(note.pitch, math.ceil(needed / TONE_STEP) * TONE_STEP)[: round(needed * SAMPLE_RATE)].copy()
    held = min(round(note.duration * SAMPLE_RATE), len(shaped))
    shaped[held:] *= np.linspace(1, 0, len(shaped) - held, dtype=np.float32) ** 2
    return shaped


def _tone(synthesizer: symusic.Synthesizer, program: int, drum: bool, pitch: int, seconds: float) -> np.ndarray:
    score = symusic.Score(480, ttype="second")
    track = symusic.Track("", program, drum, ttype="second")
    track.notes.append(symusic.Note(0.0, seconds, pitch, 127, ttype="second"))
    score.tracks.append(track)
    return synthesizer.render(score, stereo=False)[0].copy()


def _synthesizer(soundfont: Path) -> symusic.Synthesizer:
    """A fresh synthesizer (a millisecond): one that has played other programs may play some tones differently."""
    try:
        return symusic.Synthesizer(sf_path=str(soundfont), sample_rate=SAMPLE_RATE, quality=QUALITY)
    except RuntimeError as error:
        raise DemoError(f"soundfont {soundfont}: cannot be read ({error}); give a General MIDI .sf2 file") from error
