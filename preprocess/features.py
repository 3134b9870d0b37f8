"""Blocks of samples to one track of features, in memory that grows only with the features themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from models.frontends import FrontEnd
from preprocess.decode import OppositeChannels, first_alone, stream, whole
from preprocess.sources import AudioError

CHUNK = 2**18  # samples transformed at a time: the spectra of 16 s stay in the cache
SPARE = 2  # hops kept beyond the context of a frame: the rest of a hop, and one frame at least in the last chunk
PATCH = 16  # frames of the smallest patch a network can see
CLIP_TOLERANCE = 0.1  # seconds
SILENCE = 1e-4  # peak, -80 dB of full scale: below it every log-mel value is under 0.02


@dataclass(frozen=True)
class Track:
    """Features of one file.

    Attributes:
        frames: [frames, bands] float16.
        seconds: Length of the decoded audio.
        notes: Remarks on a file that was decoded only in part, or without mixing its channels.
    """

    frames: np.ndarray
    seconds: float
    notes: tuple[str, ...] = ()


def track_features(path: str | Path, frontend: FrontEnd, max_seconds: float | None = None) -> Track:
    """Decode a file and compute its features.

    Args:
        path: Audio file.
        frontend: What to compute.
        max_seconds: Keep the middle of a longer track; None keeps all of it.

    Raises:
        AudioError: As `preprocess.decode.load`; also for audio that is silent, or shorter than one patch.
    """
    try:
        return _track_features(path, frontend, max_seconds, mixed=True)
    except OppositeChannels as error:
        track = _track_features(path, frontend, max_seconds, mixed=False)
        return replace(track, notes=(first_alone(error), *track.notes))


def _track_features(path: str | Path, frontend: FrontEnd, max_seconds: float | None, mixed: bool) -> Track:
    notes: list[str] = []
    extent = _Extent()
    blocks = extent.watch(stream(path, frontend.sample_rate, notes, mixed))
    with torch.inference_mode(), one_thread():
        chunks = [chunk.half().numpy() for chunk in transform(blocks, frontend)]
    seconds, shortest = extent.samples / frontend.sample_rate, PATCH / frontend.frame_rate
    if seconds < shortest:
        raise AudioError(path, f"too short: {seconds:.3f} s, one patch of features takes {shortest:.3f} s")
    if extent.peak < SILENCE:
        raise AudioError(path, f"silent: peak {extent.peak:.1e} of full scale")
    return Track(middle(np.concatenate(chunks), max_seconds, frontend.frame_rate), seconds, tuple(notes))


def clip_features(path: str | Path, frontend: FrontEnd, clip_seconds: float) -> list[Track]:
    """Decode a file and compute the features of its clips, each as if it were a file of its own.

    Args:
        path: Audio file.
        frontend: What to compute.
        clip_seconds: Length of the clips, which begin at 0, 1, 2, ... times this.

    Returns:
        The clips in order. A rest is discarded; one that lacks no more than `CLIP_TOLERANCE` is a clip, since decoders
        differ in how they treat the ends of an mp3.

    Raises:
        AudioError: As `preprocess.decode.load`; also for audio that is silent, or shorter than one clip.
    """
    notes: list[str] = []
    samples = whole(path, frontend.sample_rate, notes)
    length, tolerance = round(clip_seconds * frontend.sample_rate), round(CLIP_TOLERANCE * frontend.sample_rate)
    count = (len(samples) + tolerance) // length
    if not count:
        seconds = len(samples) / frontend.sample_rate
        raise AudioError(path, f"too short: {seconds:.3f} s, one clip is {clip_seconds:g} s")
    if np.abs(samples).max() < SILENCE:
        raise AudioError(path, f"silent: peak {np.abs(samples).max():.1e} of full scale")
    clips = []
    with torch.inference_mode(), one_thread():
        for start in range(0, count * length, length):
            clip = samples[start : start + length]
            frames = [chunk.half().numpy() for chunk in transform([clip], frontend)]
            clips.append(Track(np.concatenate(frames), len(clip) / frontend.sample_rate, tuple(notes)))
    return clips


def audible(path: str | Path, sample_rate: int, shortest: float, notes: list[str]) -> np.ndarray:
    """Decode a whole file that is long and loud enough.

    Args:
        path: Audio file.
        sample_rate: Hz of the result.
        shortest: Seconds that it must have.
        notes: Takes remarks on a file that was decoded only in part, or without mixing its channels.

    Returns:
        [samples] float32 mono.

    Raises:
        AudioError: As `preprocess.decode.load`; also for audio that is silent, or too short.
    """
    samples = whole(path, sample_rate, notes)
    seconds = len(samples) / sample_rate
    if seconds < shortest:
        raise AudioError(path, f"too short: {seconds:.3f} s, at least {shortest:g} s are needed")
    if (peak := np.abs(samples).max()) < SILENCE:
        raise AudioError(path, f"silent: peak {peak:.1e} of full scale")
    return samples


def transform(blocks: Iterable[np.ndarray], frontend: FrontEnd) -> Iterator[torch.Tensor]:
    """Features of audio that comes in blocks: equal to those of the whole, whatever the blocks.

    Args:
        blocks: [n] float32 each.
        frontend: Its frame i is centred on sample `i * hop` and reaches `context` samples to either side.

    Yields:
        [n, *item_shape] float32 each; nothing for audio shorter than the front end takes.
    """
    hop = frontend.hop
    reach = math.ceil(frontend.context / hop)  # hops to either side of a frame
    ahead = max(reach + SPARE, math.ceil(frontend.min_samples / hop))  # hops kept behind the last frame of a chunk
    waiting, length, first = [], 0, 0
    for block in blocks:
        waiting.append(block)
        length += len(block)
        if length < CHUNK + (first + ahead) * hop:
            continue
        samples = np.concatenate(waiting)
        end = length // hop - ahead + 1
        yield frontend(torch.from_numpy(samples[: (end + ahead - 1) * hop]))[first:end]
        start = max(end - reach, 0)
        waiting = [samples[start * hop :]]
        length, first = len(waiting[0]), end - start
    if length >= frontend.min_samples:
        yield frontend(torch.from_numpy(np.concatenate(waiting)))[first:]


def middle(frames: np.ndarray, max_seconds: float | None, frame_rate: float) -> np.ndarray:
    """The central `max_seconds` of a track, or all of a shorter one."""
    keep = len(frames) if max_seconds is None else max(PATCH, round(max_seconds * frame_rate))
    start = max(len(frames) - keep, 0) // 2
    return frames[start : start + keep]


class _Extent:
    """Length and peak of samples that pass by."""

    samples, peak = 0, 0.0

    def watch(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self.samples += len(block)
            self.peak = max(self.peak, float(block.max(initial=0)), -float(block.min(initial=0)))
            yield block


@contextmanager
def one_thread() -> Iterator[None]:
    """Parallelism is over tracks: threads inside one transform would only cost."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
