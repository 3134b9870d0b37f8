"""A recording that comes in blocks, transformed in pieces that are large enough and see enough of each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

CHUNK = 2**18  # samples transformed at a time: the spectra of 16 s stay in the cache
SPARE = 2  # hops kept beyond the context of a frame: the rest of a hop, and one frame at least in the last chunk
Frames = TypeVar("Frames")  # an array or a tensor


def in_pieces(
    blocks: Iterable[np.ndarray],
    local: Callable[[np.ndarray], Frames],
    *,
    hop: int,
    context: int,
    min_samples: int,
) -> Iterator[Frames]:
    """Frames of audio that comes in blocks: equal to those of the whole, whatever the blocks.

    Args:
        blocks: `[n]` float32 each.
        local: Samples `[n]` to frames `[frames, ...]`. Frame i is centred on sample `i * hop`.
        hop: Samples from one frame to the next.
        context: Samples that a frame reaches to either side.
        min_samples: That `local` takes.

    Yields:
        `[n, ...]` each; nothing for audio shorter than `min_samples`.
    """
    reach = math.ceil(context / hop)  # hops to either side of a frame
    ahead = max(reach + SPARE, math.ceil(min_samples / hop))  # hops kept behind the last frame of a chunk
    waiting, length, first = [], 0, 0
    for block in blocks:
        waiting.append(block)
        length += len(block)
        if length < CHUNK + (first + ahead) * hop:
            continue
        samples = np.concatenate(waiting)
        end = length // hop - ahead + 1
        yield local(samples[: (end + ahead - 1) * hop])[first:end]
        start = max(end - reach, 0)
        waiting = [samples[start * hop :]]
        length, first = len(waiting[0]), end - start
    if length >= min_samples:
        yield local(np.concatenate(waiting))[first:]
