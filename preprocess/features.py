"""Blocks of samples to the features of a front end, equal to those of the whole file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from datasets.store_format import Header
from models.frontends import FrontEnd
from preprocess.pieces import in_pieces
from preprocess.tracks import FEWEST_FRAMES, DecodedTrack, encoded_clips, middle, whole_track


def header(frontend: FrontEnd) -> Header:
    """What a store of a front end's features says of itself."""
    producer, fingerprint = frontend.parameters_dict, frontend.fingerprint
    return Header("mel", frontend.item_shape, "float16", frontend.units, producer, fingerprint, frontend.fill)


def track_features(path: str | Path, frontend: FrontEnd, max_seconds: float | None = None) -> DecodedTrack:
    """Decode a file and compute its features, float16.

    Args:
        path: Audio file.
        frontend: What to compute.
        max_seconds: Keep the middle of a longer track; None keeps all of it.

    Raises:
        AudioError: As `preprocess.decode.load`; also for audio that is silent, or shorter than `FEWEST_FRAMES` frames.
    """
    frame_rate = frontend.sample_rate / frontend.hop
    with torch.inference_mode(), one_thread():
        track = whole_track(
            path,
            frontend.sample_rate,
            FEWEST_FRAMES / frame_rate,
            lambda blocks: (chunk.half().numpy() for chunk in transform(blocks, frontend)),
        )
    return replace(track, frames=middle(track.frames, max_seconds, frame_rate, FEWEST_FRAMES))


def clip_features(path: str | Path, frontend: FrontEnd, clip_seconds: float) -> list[DecodedTrack]:
    """Decode a file and compute the features of its clips, each by itself; errors as of `preprocess.tracks.clips`."""
    with torch.inference_mode(), one_thread():
        return encoded_clips(
            path,
            frontend.sample_rate,
            clip_seconds,
            lambda clip: np.concatenate([chunk.half().numpy() for chunk in transform([clip], frontend)]),
        )


def transform(blocks: Iterable[np.ndarray], frontend: FrontEnd) -> Iterator[torch.Tensor]:
    """Features of audio that comes in blocks: equal to those of the whole, whatever the blocks.

    Args:
        blocks: [n] float32 each.
        frontend: Its frame i is centred on sample `i * hop` and reaches `context` samples to either side.

    Yields:
        [n, *item_shape] float32 each; nothing for audio shorter than the front end takes.
    """
    pieces = in_pieces(
        blocks,
        lambda samples: frontend.local(torch.from_numpy(samples)),
        hop=frontend.hop,
        context=frontend.context,
        min_samples=frontend.min_samples,
    )
    if not frontend.of_recording:
        yield from pieces
    elif kept := list(pieces):
        whole = torch.cat(kept)
        kept.clear()  # of a long recording they are gigabytes
        yield frontend.settle(whole)


@contextmanager
def one_thread() -> Iterator[None]:
    """Parallelism is over tracks: threads inside one transform would only cost."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
