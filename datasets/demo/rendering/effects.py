"""What happens to a mix on its way to a listener: room, equalizer, compressor, noise, codec, loudness.

Nothing here moves an onset in time. Every function takes and gives mono float32 `[samples]`.
"""

from __future__ import annotations

import io
import random

import numpy as np
import soundfile
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

from datasets.demo.kernels import followed
from datasets.demo.render import CEILING, rms

CODECS = ("ogg", "mp3")
ATTACK = 0.005  # seconds of a compressor
CODED_AT_ONCE = 2**16  # samples


def produced(rng: random.Random, sound: np.ndarray, rate: int) -> np.ndarray:
    """A chain of effects, each with some probability, at a loudness drawn between -32 and -10 dB."""
    noise = np.random.default_rng(rng.getrandbits(64))
    sound = sound / np.float32(max(rms(sound), 1e-9))
    if rng.random() < 0.65:
        sound = reverberated(sound, response(rng, noise, rate), 10 ** (rng.uniform(-24, -3) / 20))
    if rng.random() < 0.6:
        sound = tilted(sound, rate, rng.gauss(0, 4), 10 ** rng.uniform(2.5, 3.5))
    if rng.random() < 0.08:
        sound = banded(sound, rate, rng.uniform(60, 350), rng.uniform(2500, 7000))
    if rng.random() < 0.5:
        sound = compressed(sound, rate, rng.uniform(-10, 6), rng.uniform(1.5, 8), rng.uniform(0.05, 0.4))
    if rng.random() < 0.2:
        drive = np.float32(rng.uniform(0.3, 1.5))
        sound = np.tanh(sound * drive) / drive
    if rng.random() < 0.4:
        sound = noisy(sound, noise, rng.uniform(15, 50), rng.uniform(0, 1))
    sound = sound * np.float32(min(10 ** (rng.uniform(-32, -10) / 20) / rms(sound), CEILING / np.abs(sound).max()))
    if rng.random() < 0.3:
        sound = coded(sound, rate, rng.choice(CODECS), rng.uniform(0.5, 0.95))
    return sound.astype(np.float32)


def response(rng: random.Random, noise: np.random.Generator, rate: int) -> np.ndarray:
    """The response of a room without its direct sound: early reflections, and noise that dies away in 0.15 to 2.5 s."""
    seconds = 0.15 * (2.5 / 0.15) ** rng.random()
    length = round(seconds * rate)
    fall = 10 ** (-3 * np.arange(length) / length)
    tail = noise.standard_normal(length, dtype=np.float32) * fall
    tail = lfilter([1 - (bright := rng.uniform(0.1, 0.8))], [1, -bright], tail)
    begin = round(rng.uniform(0.002, 0.03) * rate)
    room = np.concatenate((np.zeros(begin), tail))
    room[begin : 2 * begin] *= np.linspace(0, 1, begin)
    room /= np.sqrt(np.square(room).sum())
    for _ in range(rng.randint(2, 8)):
        place = round(rng.uniform(0.003, 0.06) * rate)
        if place < len(room):
            room[place] += rng.choice((-1, 1)) * rng.uniform(0.05, 0.4)
    return room.astype(np.float32)


def reverberated(sound: np.ndarray, room: np.ndarray, wet: float) -> np.ndarray:
    """A sound with the room's answer to it added, `wet` times as loud."""
    return sound + np.float32(wet) * oaconvolve(sound, room)[: len(sound)].astype(np.float32)


def tilted(sound: np.ndarray, rate: int, slope: float, middle: float) -> np.ndarray:
    """Highs turned up and lows down by `slope` dB each, about a frequency in Hz; the other way round where negative."""
    weight = np.exp(-2 * np.pi * middle / rate)
    low = lfilter(np.array([1 - weight], np.float32), np.array([1, -weight], np.float32), sound)
    return low * np.float32(10 ** (-slope / 20)) + (sound - low) * np.float32(10 ** (slope / 20))


def banded(sound: np.ndarray, rate: int, low: float, high: float) -> np.ndarray:
    """Only what lies between two frequencies, Hz, as of a small loudspeaker."""
    return sosfilt(butter(2, (low, min(high, 0.45 * rate)), "bandpass", fs=rate, output="sos"), sound).astype(
        np.float32
    )


def compressed(sound: np.ndarray, rate: int, threshold: float, ratio: float, release: float) -> np.ndarray:
    """Turned down where it is louder than a threshold in dB against its own RMS; it recovers in `release` seconds."""
    level = followed(np.abs(sound), np.exp(-1 / (ATTACK * rate)), np.exp(-1 / (release * rate)))
    limit = np.float32(rms(sound) * 10 ** (threshold / 20))
    return sound * np.minimum(1, (np.maximum(level, 1e-9) / limit) ** np.float32(1 / ratio - 1))


def noisy(sound: np.ndarray, noise: np.random.Generator, distance: float, colour: float) -> np.ndarray:
    """Hiss (colour 0) or rumble (1) added, `distance` dB below the sound."""
    hiss = noise.standard_normal(len(sound), dtype=np.float32)
    weight = np.float32(0.98 * colour)
    hiss = lfilter(np.array([1], np.float32), np.array([1, -weight], np.float32), hiss)
    return sound + hiss * np.float32(rms(sound) / rms(hiss) * 10 ** (-distance / 20))


def coded(sound: np.ndarray, rate: int, codec: str, compression: float) -> np.ndarray:
    """What Ogg Vorbis or MP3 leaves of a sound. libsndfile takes the delay of both back, so it stays where it was.

    Args:
        compression: 0 for the best quality, 1 for the smallest file.
    """
    kind = {"ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III")}[codec]
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", rate, 1, format=kind[0], subtype=kind[1], compression_level=compression
    ) as stream:
        for begin in range(0, len(sound), CODED_AT_ONCE):  # libsndfile crashes where it gets a minute of Vorbis at once
            stream.write(sound[begin : begin + CODED_AT_ONCE])
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return np.pad(decoded, (0, max(0, len(sound) - len(decoded))))[: len(sound)]
