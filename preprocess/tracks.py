"""An audio file to the array that is stored of it, block by block: memory grows only with that array.

What the array is, features or samples, is up to whoever calls; what makes audio unusable, where a long track is cut and
what is noted of a damaged file is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from preprocess.decode import OppositeChannels, first_alone, stream, whole
from preprocess.sources import AudioError

CLIP_TOLERANCE = 0.1  # seconds
FEWEST_FRAMES = 16  # of features of a track: what one patch of a transformer spans
SILENCE = 1e-4  # peak, -80 dB of full scale: below it every log-mel value is under 0.02
Encode = Callable[[Iterator[np.ndarray]], Iterator[np.ndarray]]


@dataclass(frozen=True)
class DecodedTrack:
    """What is stored of one file.

    Attributes:
        frames: [frames, *item_shape]; of audio [samples].
        seconds: Length of the decoded audio.
        notes: On a file that was decoded only in part, or without mixing its channels.
    """

    frames: np.ndarray
    seconds: float
    notes: tuple[str, ...] = ()


def whole_track(path: str | Path, sample_rate: int, shortest: float, encode: Encode) -> DecodedTrack:
    """Decode a file and encode it, whatever its length.

    Args:
        path: Audio file.
        sample_rate: Hz of the samples that are encoded.
        shortest: Seconds that it must have.
        encode: Blocks of samples `[n]` float32 to arrays `[frames, ...]`, which are joined.

    Raises:
        AudioError: As `preprocess.decode.load`; also for audio that is silent or too short.
    """
    try:
        return _whole_track(path, sample_rate, shortest, encode, mixed=True)
    except OppositeChannels as error:
        track = _whole_track(path, sample_rate, shortest, encode, mixed=False)
        return replace(track, notes=(first_alone(error), *track.notes))


def _whole_track(path: str | Path, sample_rate: int, shortest: float, encode: Encode, mixed: bool) -> DecodedTrack:
    notes: list[str] = []
    extent = _Extent()
    parts = list(encode(extent.watch(stream(path, sample_rate, notes, mixed))))
    seconds = extent.samples / sample_rate
    _refuse(path, seconds, shortest, extent.peak)
    return DecodedTrack(np.concatenate(parts), seconds, tuple(notes))


def clips(path: str | Path, sample_rate: int, clip_seconds: float, notes: list[str]) -> list[np.ndarray]:
    """Decode a file and cut it into clips.

    Args:
        path: Audio file.
        sample_rate: Hz of the samples.
        clip_seconds: Length of the clips, which begin at 0, 1, 2, ... times this.
        notes: Takes notes on a file that was decoded only in part, or without mixing its channels.

    Returns:
        Samples [n] float32 of the clips in order. A rest is discarded; one that lacks no more than `CLIP_TOLERANCE` is
        a clip, since decoders differ in how they treat the ends of an mp3.

    Raises:
        AudioError: As `preprocess.decode.load`; also for audio that is silent, or shorter than one clip.
    """
    samples = whole(path, sample_rate, notes)
    length, tolerance = round(clip_seconds * sample_rate), round(CLIP_TOLERANCE * sample_rate)
    count = (len(samples) + tolerance) // length
    if not count:
        seconds = len(samples) / sample_rate
        raise AudioError(path, f"too short: {seconds:.3f} s, one clip is {clip_seconds:g} s")
    _refuse(path, clip_seconds, 0, float(np.abs(samples).max()))
    return [samples[start : start + length] for start in range(0, count * length, length)]


def encoded_clips(
    path: str | Path, sample_rate: int, clip_seconds: float, encode: Callable[[np.ndarray], np.ndarray]
) -> list[DecodedTrack]:
    """Decode a file and encode its clips, each as if it were a file of its own.

    Args:
        path: Audio file.
        sample_rate: Hz of the samples that are encoded.
        clip_seconds: As of `clips`.
        encode: Samples `[n]` float32 of a clip to its array `[frames, ...]`.

    Raises:
        AudioError: As `clips`.
    """
    notes: list[str] = []
    found = clips(path, sample_rate, clip_seconds, notes)
    return [DecodedTrack(encode(clip), len(clip) / sample_rate, tuple(notes)) for clip in found]


def audible(path: str | Path, sample_rate: int, shortest: float, notes: list[str]) -> np.ndarray:
    """Decode a whole file that is long and loud enough.

    Args:
        path: Audio file.
        sample_rate: Hz of the result.
        shortest: Seconds that it must have.
        notes: As of `clips`.

    Returns:
        [samples] float32 mono.

    Raises:
        AudioError: As `preprocess.decode.load`; also for audio that is silent, or too short.
    """
    samples = whole(path, sample_rate, notes)
    _refuse(path, len(samples) / sample_rate, shortest, float(np.abs(samples).max()))
    return samples


def middle(frames: np.ndarray, max_seconds: float | None, frame_rate: float, fewest: int = 1) -> np.ndarray:
    """The central `max_seconds` of a track, `fewest` frames at least, or all of a shorter one."""
    keep = len(frames) if max_seconds is None else max(fewest, round(max_seconds * frame_rate))
    start = max(len(frames) - keep, 0) // 2
    return frames[start : start + keep]


def _refuse(path: str | Path, seconds: float, shortest: float, peak: float) -> None:
    if seconds < shortest:
        raise AudioError(path, f"too short: {seconds:.3f} s, at least {shortest:.3f} s are needed")
    if peak < SILENCE:
        raise AudioError(path, f"silent: peak {peak:.1e} of full scale")


class _Extent:
    """Length and peak of samples that pass by."""

    samples, peak = 0, 0.0

    def watch(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self.samples += len(block)
            self.peak = max(self.peak, float(block.max(initial=0)), -float(block.min(initial=0)))
            yield block
