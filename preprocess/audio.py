"""Audio as it is stored for front ends that are computed in training: mono, at the front end's sample rate.

As int16, a sample x becomes 32768 x, rounded to the nearest integer (of two equally near ones to the even one) and
clipped to -32768 and 32767. Dividing by 32768 gives it back within half a step, 1.5e-5 of full scale: that is noise at
about -101 dB, which a front end in dB sees in bands that are quieter. As float32, samples are those of the decoder, in
twice the bytes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.store_format import Header
from models.fingerprint import fingerprint
from models.samples import FULL_SCALE
from preprocess.tracks import DecodedTrack, encoded_clips, middle, whole_track

SHORTEST = 0.25  # seconds
RATES = (4_000, 192_000)  # Hz
SampleType = Literal["int16", "float32"]
_NAME = re.compile(r"audio_([0-9]{4,6})(_float32)?")


def audio_name(rate: int, kind: SampleType = "int16") -> str:
    """What audio at a sample rate is called where the name of a front end is taken: `audio_16000`.

    Args:
        rate: Hz.
        kind: Of the samples; those of float32 are `audio_16000_float32`.

    Raises:
        ValueError: The rate is not one of audio.
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"audio at {rate} Hz: give a sample rate from {RATES[0]} to {RATES[1]} Hz")
    return f"audio_{rate}" if kind == "int16" else f"audio_{rate}_{kind}"


def parse_audio_name(name: str) -> tuple[int, SampleType] | None:
    """Sample rate and type of the samples in such a name; None where it is none.

    Raises:
        ValueError: The rate is not one of audio.
    """
    found = _NAME.fullmatch(name)
    if not found:
        return None
    audio_name(rate := int(found[1]))
    return rate, "float32" if found[2] else "int16"


def header(rate: int, kind: SampleType = "int16") -> Header:
    """What a store of audio says of itself."""
    producer = {"sample_rate": rate, "channels": "mean", "resampler": "soxr HQ"}
    if kind == "int16":
        producer |= {"rounding": "32768 x to the nearest integer, half to even, clipped"}
    units = "int16 full scale" if kind == "int16" else "full scale"
    return Header("audio", (), kind, units, producer, fingerprint({"audio": producer}))


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples [n] float32 of full scale 1 to [n] int16, as the module says."""
    scaled = np.rint(samples * np.float32(FULL_SCALE))
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1, out=scaled).astype(np.int16)


def audio_track(
    path: str | Path, rate: int, max_seconds: float | None = None, kind: SampleType = "int16"
) -> DecodedTrack:
    """Decode a file to samples.

    Args:
        path: Audio file.
        rate: Hz of the samples.
        max_seconds: Keep the middle of a longer track; None keeps all of it.
        kind: Of the samples.

    Raises:
        AudioError: As `preprocess.decode.load`; also for audio that is silent, or shorter than `SHORTEST`.
    """
    encode = iter if kind == "float32" else partial(map, to_int16)
    track = whole_track(path, rate, SHORTEST, encode)
    return replace(track, frames=middle(track.frames, max_seconds, rate, round(SHORTEST * rate)))


def exact_audio_track(rate: int, path: str | Path) -> list[DecodedTrack]:
    """Decode a file to float32 samples; errors as of `audio_track`."""
    return [audio_track(path, rate, kind="float32")]


def audio_clips(path: str | Path, rate: int, clip_seconds: float, kind: SampleType = "int16") -> list[DecodedTrack]:
    """Decode a file and cut it into clips of samples; errors as of `preprocess.tracks.clips`."""
    return encoded_clips(path, rate, clip_seconds, np.asarray if kind == "float32" else to_int16)
