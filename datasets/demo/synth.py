"""Notes -> samples: tones of a soundfont, shaped and added.

A note is as loud as the square of its velocity (SoundFont 2.04, section 8.4.1), stands to the sample where it begins,
and dies away after its end as the soundfont says, from the level that it has then.
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

from datasets.demo.errors import DemoError
from datasets.demo.soundfont import Zone, open_soundfont
from datasets.demo.tones import LONGEST_TAIL, SAMPLE_RATE, lasts, level, release, tone

LONGEST_STEPS = 4  # seconds: tones are made in lengths of whole ones, so that notes can share them; longer are not
TONES_KEPT = 320
ENVELOPES_KEPT = 96
DARK_STEP = 300  # cents
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
    return perform(notes, partial(open_soundfont(soundfont).zones, program, drum), start, samples)


def perform(
    notes: Iterable[Note],
    zones: Callable[[int, float], Iterable[Zone]],
    start: float,
    samples: int,
    rate: int = SAMPLE_RATE,
    dark: int = 0,
) -> np.ndarray:
    """Notes -> mono float32 [samples], from `start` seconds on the notes' clock.

    Args:
        zones: What a pitch with a velocity plays.
        rate: samples a second.
        dark: cents by which the low-pass of the softest notes stands lower than that of the loudest.
    """
    sound = np.zeros(samples, np.float32)
    for note in notes:
        begin = round((note.start - start) * rate)
        if begin >= samples or begin + (note.duration + LONGEST_TAIL) * rate < 0:
            continue
        cut = max(0, -begin)
        for zone in zones(note.pitch, note.velocity):
            sounding = _played(note, zone, rate, _darker(note.velocity, dark))[cut : samples - begin]
            sound[begin + cut : begin + cut + len(sounding)] += sounding
    return sound


def _darker(velocity: float, dark: int) -> int:
    """Cents by which a note's low-pass stands lower, in few steps, so that notes can share tones."""
    return round(dark * (1 - velocity / 127) / DARK_STEP) * DARK_STEP


def _played(note: Note, zone: Zone, rate: int, darker: int) -> np.ndarray:
    """What a note sounds in one zone, from its start until it has died away: float32."""
    tail = _release(zone, rate)
    held = round(max(SHORTEST_NOTE, note.duration) * rate)
    length = held + len(tail)
    if note.bends:
        times, semitones = zip((-1.0, 0.0), *note.bends, strict=True)
        wheel = np.array(semitones)[np.searchsorted(times, np.arange(length) / rate, side="right") - 1]
        sound = tone(zone, note.pitch, length, wheel, rate, darker)
    else:
        length = min(length, math.ceil(min(lasts(zone, note.pitch), length) * rate))
        steps = math.ceil(length / rate)
        make = _tone if steps <= LONGEST_STEPS else tone
        sound = make(zone, note.pitch, steps * rate, None, rate, darker)[:length]
    envelope = _envelope(zone, note.pitch, length, rate)
    if held < length:
        envelope[held:] = envelope[held] * tail[: length - held]
    return sound * envelope * np.float32(note.gain * (note.velocity / 127) ** 2)


def _envelope(zone: Zone, key: int, length: int, rate: int) -> np.ndarray:
    """The volume envelope of a held key, which most zones share between all keys: float32 [length]."""
    if not (zone.settings["key_to_hold"] or zone.settings["key_to_decay"]):
        key = zone.root
    whole = LONGEST_STEPS * rate
    return _level(zone, key, whole, rate)[:length].copy() if length <= whole else level(zone, key, length, rate)


_tone = lru_cache(maxsize=TONES_KEPT)(tone)
_level = lru_cache(maxsize=ENVELOPES_KEPT)(level)
_release = lru_cache(maxsize=ENVELOPES_KEPT)(release)
