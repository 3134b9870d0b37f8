"""Notes -> samples: tones of a soundfont, shaped and added.

A note is as loud as the square of its velocity (SoundFont 2.04, section 8.4.1), stands to the sample where it begins,
and dies away after its end as the soundfont says, from the level that it has then.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.demo.errors import DemoError
from datasets.demo.soundfont import Zone, open_soundfont
from datasets.demo.tones import LONGEST_TAIL, SAMPLE_RATE, lasts, level, release, tone

STEP = SAMPLE_RATE  # samples; tones are made in lengths of whole steps, so that notes can share them
LONGEST_STEPS = 4  # longer tones are not shared
TONES_KEPT = 768
ENVELOPES_KEPT = 256
SHORTEST_NOTE = 0.01  # seconds; drums are often written without any length


class Note(NamedTuple):
    """One note.

    Attributes:
        start, duration: seconds.
        pitch: MIDI pitch; a drum key for drums.
        velocity: 1..127.
        gain: factor on its amplitude.
        bends: the pitch wheel, as (seconds from the start of the note, semitones from then on), ascending.
    """

    start: float
    duration: float
    pitch: int
    velocity: float
    gain: float = 1.0
    bends: tuple[tuple[float, float], ...] = ()


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
    open_soundfont(path)
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
    font = open_soundfont(soundfont)
    sound = np.zeros(samples, np.float32)
    for note in notes:
        begin = round((note.start - start) * SAMPLE_RATE)
        if begin >= samples or begin + (note.duration + LONGEST_TAIL) * SAMPLE_RATE < 0:
            continue
        cut = max(0, -begin)
        for zone in font.zones(program, drum, note.pitch, note.velocity):
            sounding = _played(note, zone)[cut : samples - begin]
            sound[begin + cut : begin + cut + len(sounding)] += sounding
    return sound


def _played(note: Note, zone: Zone) -> np.ndarray:
    """What a note sounds in one zone, from its start until it has died away: float32."""
    tail = _release(zone)
    held = round(max(SHORTEST_NOTE, note.duration) * SAMPLE_RATE)
    length = held + len(tail)
    if note.bends:
        times, semitones = zip((-1.0, 0.0), *note.bends, strict=True)
        wheel = np.array(semitones)[np.searchsorted(times, np.arange(length) / SAMPLE_RATE, side="right") - 1]
        sound = tone(zone, note.pitch, length, wheel)
    else:
        length = min(length, math.ceil(min(lasts(zone, note.pitch), length) * SAMPLE_RATE))
        steps = math.ceil(length / STEP)
        sound = (_tone if steps <= LONGEST_STEPS else tone)(zone, note.pitch, steps * STEP)[:length]
    envelope = _envelope(zone, note.pitch, length)
    if held < length:
        envelope[held:] = envelope[held] * tail[: length - held]
    return sound * envelope * np.float32(note.gain * (note.velocity / 127) ** 2)


def _envelope(zone: Zone, key: int, length: int) -> np.ndarray:
    """The volume envelope of a held key, which most zones share between all keys: float32 [length]."""
    if not (zone.settings["key_to_hold"] or zone.settings["key_to_decay"]):
        key = zone.root
    whole = LONGEST_STEPS * STEP
    return _level(zone, key, whole)[:length].copy() if length <= whole else level(zone, key, length)


_tone = lru_cache(maxsize=TONES_KEPT)(tone)
_level = lru_cache(maxsize=ENVELOPES_KEPT)(level)
_release = lru_cache(maxsize=ENVELOPES_KEPT)(release)
