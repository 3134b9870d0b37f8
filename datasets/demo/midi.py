"""A MIDI file -> its notes as they sound, and its audio, through the synthesizer of the demo corpus."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import symusic

from datasets.demo.errors import DemoError
from datasets.demo.render import CEILING, master
from datasets.demo.soundfont import open_soundfont
from datasets.demo.synth import Note, perform
from datasets.demo.tones import LONGEST_TAIL, SAMPLE_RATE
from datasets.system_folders import files_below

LONGEST = 1800.0  # seconds that a MIDI file may last
SUFFIXES = {".mid", ".midi"}
VOLUME, EXPRESSION = 7, 11  # MIDI controllers
COARSE_ENTRY, FINE_ENTRY, FINE_NUMBER, COARSE_NUMBER = 6, 38, 100, 101  # controllers that set a numbered parameter
WHEEL_RANGE = 2.0  # semitones up and down, until parameter 0 says otherwise
WHEEL_STEPS = 8192  # of the pitch wheel, up and down


def midi_files(folder: Path) -> list[Path]:
    """The .mid and .midi files below a folder, in order; system folders and what is hidden are passed over.

    Raises:
        DemoError: no such folder, or no MIDI files in it.
    """
    if not folder.is_dir():
        raise DemoError(f"{folder}: no such folder; give a folder of .mid or .midi files")
    files = sorted(Path(one.path) for one in files_below(folder) if one.is_file())
    files = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not files:
        raise DemoError(f"{folder}: no .mid or .midi file in this folder or below it")
    return files


def read_score(source: Path) -> symusic.core.ScoreSecond:
    """The notes of a MIDI file in seconds.

    Raises:
        DemoError: it cannot be read, has no notes, or is too long.
    """
    try:
        score = symusic.Score(source).to("second")
    except OSError as error:
        raise DemoError(f"cannot be read ({error.strerror or error})") from error
    except (RuntimeError, ValueError) as error:
        raise DemoError("is no MIDI file, or is damaged or cut short") from error
    if not score.note_num():
        raise DemoError("has no notes")
    if not 0 < score.end() <= LONGEST:
        raise DemoError(f"lasts {score.end():.0f} s; the longest that is rendered is {LONGEST:.0f} s")
    return score


def render_midi(source: Path, soundfont: Path, rate: int = SAMPLE_RATE) -> np.ndarray:
    """A MIDI file -> mono float32 [samples], peak at the ceiling.

    Velocity, volume, expression, the sustain pedal and the pitch wheel are followed; pan and effects are not.

    Raises:
        DemoError: it cannot be read, has no notes, is too long, or is silent with this soundfont.
    """
    score = read_score(source)
    samples = round((score.end() + LONGEST_TAIL) * rate)
    sound = np.zeros(samples, np.float32)
    for track in score.tracks:
        zones = partial(open_soundfont(soundfont).zones, track.program, track.is_drum)
        sound += perform(track_notes(track), zones, 0.0, samples, rate)
    peak = float(np.abs(sound).max())
    if not 0 < peak < np.inf:
        raise DemoError("silent with this soundfont")
    return master(sound * np.float32(CEILING / peak), rate)


def track_notes(track: symusic.core.TrackSecond) -> Iterator[Note]:
    """The notes of a MIDI track as they sound: held by the pedal, as loud as volume and expression make them, bent."""
    pedals = sorted((pedal.time, pedal.time + pedal.duration) for pedal in track.pedals)
    wheel = wheel_positions(track)
    controls = {
        number: sorted((control.time, control.value) for control in track.controls if control.number == number)
        for number in (VOLUME, EXPRESSION)
    }
    for note in track.notes:
        end = note.time + note.duration
        pressed = bisect.bisect_right(pedals, (end, float("inf"))) - 1
        if pressed >= 0:
            end = max(end, pedals[pressed][1])
        gain = 1.0
        for changes in controls.values():
            last = bisect.bisect_right(changes, (note.time, 128)) - 1
            gain *= (changes[last][1] / 127) ** 2 if last >= 0 else 1.0
        yield Note(note.time, end - note.time, note.pitch, note.velocity, gain, bends(wheel, note.time, end))


def wheel_positions(track: symusic.core.TrackSecond) -> list[tuple[float, float]]:
    """The pitch wheel of a MIDI track over time: (seconds, semitones from then on), ascending."""
    events = [(control.time, control.number, control.value) for control in track.controls]
    events += [(bend.time, None, bend.value) for bend in track.pitch_bends]
    entries = {COARSE_NUMBER: 127, FINE_NUMBER: 127, COARSE_ENTRY: 0, FINE_ENTRY: 0}
    reach, turned = WHEEL_RANGE, 0
    positions = []
    for time, number, value in sorted(events, key=lambda event: event[0]):  # stable: a parameter takes several events
        if number is None:
            turned = value
        elif number in entries:
            entries[number] = value
            if number not in (COARSE_ENTRY, FINE_ENTRY) or entries[COARSE_NUMBER] or entries[FINE_NUMBER]:
                continue
            reach = entries[COARSE_ENTRY] + entries[FINE_ENTRY] / 100
        else:
            continue
        positions.append((time, turned * reach / WHEEL_STEPS))
    return positions


def bends(wheel: list[tuple[float, float]], start: float, end: float) -> tuple[tuple[float, float], ...]:
    """Where the pitch wheel stands from the start of a note until it has died away; empty where it is at rest."""
    first = max(0, bisect.bisect_right(wheel, (start, float("inf"))) - 1)
    last = bisect.bisect_left(wheel, (end + LONGEST_TAIL,))
    bends = tuple((max(0.0, time - start), semitones) for time, semitones in wheel[first:last])
    return bends if any(semitones for _, semitones in bends) else ()
