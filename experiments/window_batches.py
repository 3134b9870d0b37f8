"""Windows of tracks: where they are cut, and how those of many tracks share batches.

A track is an array `[rows, *item_shape]`: frames of features, or samples of audio.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.clips import window_starts
from datasets.windows import is_short, pad_centred


@dataclass(frozen=True)
class Windowing:
    """How tracks are cut.

    Attributes:
        frames: Of a window.
        rows: Of a window: frames of features, or samples of audio.
        hop: From one window to the next, rows.
        hop_frames: The same in frames.
        rate: Rows a second.
    """

    frames: int
    rows: int
    hop: int
    hop_frames: float
    rate: float


def cut(
    track: np.ndarray, length: int, hop: int, fill: float = 0.0, unpadded: int | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Cut a track into windows.

    The last window may lack a tenth of its rows, and a track that is shorter than a window is a single one; both are
    padded. What is left behind the last window is dropped.

    Args:
        track: `[rows, ...]`.
        length: Of a window, rows.
        hop: From one window to the next, rows.
        fill: What padding is made of.
        unpadded: Rows that a network takes of this track as they are, where it has less than nine tenths of a window;
            None: it is padded.

    Returns:
        First row of every window, and the windows.
    """
    if unpadded is not None and is_short(len(track), length):
        return np.zeros(1, dtype=int), [track[:unpadded]]
    starts = np.array(window_starts(len(track), length, hop))
    windows = [track[start : start + length] for start in starts]
    return starts, [one if len(one) == length else pad_centred(one, length, fill) for one in windows]


@dataclass
class OpenTrack:
    """A track whose windows wait for the network.

    Attributes:
        name: Of the track.
        starts: Of its windows, rows.
        windows: Equally long arrays.
        outputs: Of the windows that are through; a tuple of arrays each where the network gives several.
    """

    name: str
    starts: np.ndarray
    windows: list[np.ndarray]
    outputs: list[Any] = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.length, self.left = len(self.windows[0]), len(self.windows)
        self.outputs = [None] * self.left


def in_batches(
    tracks: Iterable[OpenTrack], run_batch: Callable[[Tensor], list[np.ndarray]], batch_size: int
) -> Iterator[OpenTrack]:
    """Run windows of one length together, whichever tracks they are of; yields every track when it is through.

    Args:
        tracks: Opened one after another, so that memory is bounded by a few batches.
        run_batch: Windows `[batch, rows, ...]` to arrays `[batch, ...]`, one for each output.
        batch_size: Windows at once.

    Yields:
        Tracks with their `outputs`: for every window a list of arrays, one for each output.
    """
    waiting: defaultdict[int, list[tuple[OpenTrack, int]]] = defaultdict(list)
    for track in tracks:
        for number in range(len(track.windows)):
            queue = waiting[track.length]
            queue.append((track, number))
            if len(queue) == batch_size:
                yield from _through(queue, run_batch)
    for queue in waiting.values():
        yield from _through(queue, run_batch)


def _through(
    queue: list[tuple[OpenTrack, int]], run_batch: Callable[[Tensor], list[np.ndarray]]
) -> Iterator[OpenTrack]:
    """Run what waits, and empty the queue."""
    batch, queue[:] = list(queue), []
    if not batch:
        return
    windows = torch.from_numpy(np.stack([track.windows[number] for track, number in batch]))
    outputs = run_batch(windows)
    for (track, number), *values in zip(batch, *outputs, strict=True):
        track.outputs[number] = values
        track.windows[number] = None  # memory of long tracks goes with their windows
        track.left -= 1
        if not track.left:
            yield track
