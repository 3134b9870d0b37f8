"""One zone of a soundfont and a key -> the tone, as long as wanted: pitch, loop, envelopes, oscillators, filter.

After the synthesis model of the SoundFont Technical Specification 2.04, sections 8 and 9. Left out are chorus, reverb
and modulators; both sides of the stereo image are mixed; the oscillators' and the modulation envelope's way goes on
through the release. Arithmetic on arrays alone, so the same tone is the same bytes in any thread and process.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
from scipy.signal import lfilter

from datasets.demo.kernels import between
from datasets.demo.soundfont import Zone

SAMPLE_RATE = 22050
QUALITY = "MQ"
MARGIN = 64  # samples read beyond the end of a tone, where the resampler would hear silence
FULL_SCALE = 32768.0
FASTEST = 64  # a sample that would be played so many times faster or slower than it was recorded is silent
FARTHEST = 48  # semitones that the pitch of a tone may move
DECAY_DB = 100.0  # what a decay or a release falls by in its time
TAIL_DB = 60.0  # a release is cut when it has fallen so far,
LONGEST_TAIL = 1.0  # and after so many seconds
SHORTEST_RELEASE = 0.02  # seconds; a tone that stops faster clicks
PITCH_MOVES = ("vibrato_to_pitch", "lfo_to_pitch", "envelope_to_pitch")
BLOCK = 512  # samples for which a moving filter stands still
CENTS = 100  # steps in which a filter moves
LOWEST_CUTOFF = 1500  # cents above `FIRST_KEY`
HIGHEST_CUTOFF = 0.45  # of the sample rate
FIRST_KEY = 440 * 2 ** (-69 / 12)  # Hz; frequencies of the format are in cents above MIDI pitch 0


def tone(
    zone: Zone,
    key: int,
    samples: int,
    bend: np.ndarray | None = None,
    rate: int = SAMPLE_RATE,
    darker: int = 0,
) -> np.ndarray:
    """A key at full velocity, before its volume envelope: float32 [samples].

    Args:
        bend: semitones, float [samples], added to the pitch.
        rate: samples a second.
        darker: cents by which the low-pass stands lower, as it does for soft notes (section 8.4.2).
    """
    key = zone.sounding_key(key)
    times = np.arange(samples, dtype=np.float32) / rate
    sound = _filtered(zone, key, _pitched(zone, key, samples, _pitch(zone, key, times, bend), rate), rate, darker)
    pan = zone.settings["pan"] / 1000
    sides = (math.sqrt(0.5 - pan) + math.sqrt(0.5 + pan)) / 2
    return sound * np.float32(sides * 10 ** (-zone.settings["attenuation"] / 200))


def level(zone: Zone, key: int, samples: int, rate: int = SAMPLE_RATE) -> np.ndarray:
    """The volume envelope of a held key, and tremolo: amplitudes, float32 [samples]."""
    settings = zone.settings
    key = zone.sounding_key(key)
    times = np.arange(samples, dtype=np.float32) / rate
    since = times - _seconds(settings["delay"])
    attack = _seconds(settings["attack"])
    hold, decay = (_seconds(phase) for phase in _hold_and_decay(zone, key))
    fallen = np.clip((since - attack - hold) * (DECAY_DB / decay), 0, settings["sustain"] / 10)
    if settings["lfo_to_volume"]:
        fallen = fallen - settings["lfo_to_volume"] / 10 * _oscillator(zone, "lfo", times)
    return (np.clip(since / attack, 0, 1) * np.exp2(fallen * (-math.log2(10) / 20))).astype(np.float32)


def lasts(zone: Zone, key: int) -> float:
    """Seconds after which a key is silent however long it is held; infinite where a loop is sustained."""
    settings = zone.settings
    key = zone.sounding_key(key)
    ends = [math.inf]
    if settings["sustain"] / 10 >= DECAY_DB:
        phases = (settings["delay"], settings["attack"], *_hold_and_decay(zone, key))
        ends.append(sum(_seconds(phase) for phase in phases))
    if zone.loop is None and not any(settings[name] for name in PITCH_MOVES):
        ends.append(len(zone.samples) / _rate(zone, key) + MARGIN / SAMPLE_RATE)
    return min(ends)


def release(zone: Zone, rate: int = SAMPLE_RATE) -> np.ndarray:
    """How a tone dies away once its key is up: float32 [samples], from 1 to 0, `LONGEST_TAIL` at most."""
    seconds = max(SHORTEST_RELEASE, _seconds(zone.settings["release"]))
    length = round(min(seconds * TAIL_DB / DECAY_DB, LONGEST_TAIL) * rate)
    fall = 10 ** (-DECAY_DB / 20 / (seconds * rate) * np.arange(length))
    return (fall * np.linspace(1, 0, length)).astype(np.float32)


def _pitched(zone: Zone, key: int, samples: int, pitch: np.ndarray | None, rate: int) -> np.ndarray:
    """The sample at the pitch of a key; `pitch` are semitones on top of that, float [samples]."""
    places = None
    wanted = samples
    if pitch is not None:
        places = np.concatenate(([0.0], np.cumsum(np.exp2(pitch[:-1] / 12), dtype=np.float64)))
        wanted = math.ceil(places[-1]) + 4
    taken = _rate(zone, key)
    if not 1 / FASTEST < taken / rate < FASTEST:
        return np.zeros(samples, np.float32)
    source = _unrolled(zone, math.ceil((wanted + MARGIN) * taken / rate))
    sound = soxr.resample(source, taken, rate, quality=QUALITY)
    sound = np.pad(sound, (0, max(0, wanted - len(sound))))
    return sound[:samples] if places is None else between(np.pad(sound, (1, 4)), places)


def _rate(zone: Zone, key: int) -> float:
    """Samples a second that a key takes from its sample."""
    return zone.rate * 2 ** (zone.transposition(key) / 12)


def _unrolled(zone: Zone, length: int) -> np.ndarray:
    """The sample as it runs through its loop, float32, at most `length` samples."""
    if zone.loop is None or length <= zone.loop[1]:
        taken = zone.samples[:length]
    else:
        begin, end = zone.loop
        taken = np.concatenate((zone.samples[:begin], np.resize(zone.samples[begin:end], length - begin)))
    return taken.astype(np.float32) / np.float32(FULL_SCALE)


def _pitch(zone: Zone, key: int, times: np.ndarray, bend: np.ndarray | None) -> np.ndarray | None:
    """Semitones by which the pitch moves, or None where it stands still."""
    settings = zone.settings
    moves = [] if bend is None else [bend]
    for name, oscillator in (("vibrato_to_pitch", "vibrato"), ("lfo_to_pitch", "lfo")):
        if settings[name]:
            moves.append(settings[name] / 100 * _oscillator(zone, oscillator, times))
    if settings["envelope_to_pitch"]:
        moves.append(settings["envelope_to_pitch"] / 100 * _modulation(zone, key, times))
    return np.clip(np.sum(moves, axis=0), -FARTHEST, FARTHEST) if moves else None


def _filtered(zone: Zone, key: int, sound: np.ndarray, rate: int, darker: int) -> np.ndarray:
    """The low-pass of a zone, whose cutoff the modulation envelope and the oscillator may move."""
    settings = zone.settings
    times = np.arange(0, len(sound), BLOCK, dtype=np.float32) / rate
    cents = np.full(len(times), float(settings["cutoff"] - darker))
    if settings["envelope_to_cutoff"]:
        cents += settings["envelope_to_cutoff"] * _modulation(zone, key, times)
    if settings["lfo_to_cutoff"]:
        cents += settings["lfo_to_cutoff"] * _oscillator(zone, "lfo", times)
    highest = 1200 * math.log2(HIGHEST_CUTOFF * rate / FIRST_KEY)
    cents = CENTS * np.round(np.clip(cents, LOWEST_CUTOFF, highest) / CENTS)
    if (cents >= highest - CENTS).all():
        return sound
    changes = np.flatnonzero(np.diff(cents)) + 1
    bounds = [0, *(BLOCK * changes), len(sound)]
    state = np.zeros(2, np.float32)
    filtered = np.empty_like(sound)
    for begin, end, place in zip(bounds, bounds[1:], [0, *changes], strict=False):
        upper, lower = _low_pass(FIRST_KEY * 2 ** (cents[place] / 1200) / rate, settings["resonance"] / 10)
        filtered[begin:end], state = lfilter(upper, lower, sound[begin:end], zi=state)
    return filtered


def _low_pass(cutoff: float, resonance: float) -> tuple[np.ndarray, np.ndarray]:
    """A filter of two poles: cutoff as a part of the sample rate, height of its peak in dB -> its coefficients."""
    angle = 2 * math.pi * cutoff
    width = math.sin(angle) / (2 * 10 ** ((resonance - 3.01) / 20))
    upper = (1 - math.cos(angle)) / 2 * np.array([1, 2, 1])
    lower = np.array([1 + width, -2 * math.cos(angle), 1 - width])
    return (upper / lower[0]).astype(np.float32), (lower / lower[0]).astype(np.float32)


def _hold_and_decay(zone: Zone, key: int) -> tuple[int, int]:
    """Timecents of these phases of the volume envelope."""
    return tuple(zone.settings[phase] + zone.settings[f"key_to_{phase}"] * (60 - key) for phase in ("hold", "decay"))


def _modulation(zone: Zone, key: int, times: np.ndarray) -> np.ndarray:
    """The modulation envelope of a held key, 0 to 1."""
    settings = zone.settings
    since = times - _seconds(settings["modulation_delay"])
    attack = _seconds(settings["modulation_attack"])
    hold = _seconds(settings["modulation_hold"] + settings["modulation_key_to_hold"] * (60 - key))
    decay = _seconds(settings["modulation_decay"] + settings["modulation_key_to_decay"] * (60 - key))
    fallen = np.clip((since - attack - hold) / decay, 0, settings["modulation_sustain"] / 1000)
    return np.clip(since / attack, 0, 1) - fallen


def _oscillator(zone: Zone, name: str, times: np.ndarray) -> np.ndarray:
    """A triangle between -1 and 1, which rises from 0 after its delay."""
    since = np.maximum(times - _seconds(zone.settings[f"{name}_delay"]), 0)
    turn = since * (FIRST_KEY * 2 ** (zone.settings[f"{name}_rate"] / 1200)) + 0.25
    return 1 - 4 * np.abs(turn - np.floor(turn) - 0.5)


def _seconds(timecents: float) -> float:
    return 2 ** (max(-12000.0, min(8000.0, timecents)) / 1200)
