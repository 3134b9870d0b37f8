"""Clips of stored tracks for a network: random crops to train on, fixed windows for validation and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch.utils.data import Dataset

from datasets.targets import Targets
from datasets.windows import exhaustive_windows, offset_range

Item = dict[str, np.ndarray]


class Rows(Protocol):
    """What clips are cut from: a store of features or audio, or a folder of upstream's files."""

    def length(self, identity: str) -> int:
        """Rows of a track: frames, or samples."""

    def read_crop(self, identity: str, start: int, length: int) -> np.ndarray:
        """`[length, *item_shape]` from `start` on; a track shorter than `length` is centred in silence."""


class Extra(Protocol):
    """What a teacher predicts for clips: `datasets.teachers.Teacher`."""

    def targets(self, identity: str, start: float, frames: int) -> np.ndarray:
        """`[classes]` for `frames` frames from `start` on; NaN for a track that it has no prediction for."""


class ClipReader:
    """Cuts clips from tracks.

    Args:
        features: The store.
        ids: Stored track ids.
        targets: Of the tracks; None where there are no labels.
        length: Rows of a clip: frames of features, or samples of audio.
        frames: Frames that the network sees of a clip; None: `length`.
        hop: Rows from one frame to the next.
        extra: What else belongs to clips, by its name in the items.
    """

    def __init__(
        self,
        features: Rows,
        ids: Sequence[str],
        targets: Targets | None,
        length: int,
        *,
        frames: int | None = None,
        hop: int = 1,
        extra: Mapping[str, Extra] | None = None,
    ) -> None:
        self.features, self.ids, self.targets = features, ids, targets
        self.length, self.frames, self.hop, self.extra = length, frames or length, hop, dict(extra or {})

    def item(self, track: int, starts: Sequence[int]) -> Item:
        """`x` of the clips at one or several starts, and what belongs to the first: `target`, `mask`, extras, `track`."""
        identity, start = self.ids[track], starts[0]
        views = [self.features.read_crop(identity, one, self.length) for one in starts]
        frame = start if self.hop == 1 else start / self.hop
        item = {"x": views[0] if len(views) == 1 else np.stack(views), "track": np.asarray(track)}
        if self.targets is not None:
            padded = max(self.length - self.features.length(identity), 0) // 2
            found = self.targets.crop(track, frame - padded / self.hop, self.frames)
            item |= {name: np.asarray(value) for name, value in found.items()}
        return item | {name: one.targets(identity, frame, self.frames) for name, one in self.extra.items()}


class RandomCrops(Dataset[Item]):
    """Clips from random places of tracks (offsets uniform, short tracks centred in silence), `views` of them an item.

    Indexed by the pairs that `datasets.samplers.EpochSampler` yields. An item holds `x [length, *item_shape]`, of
    several views `[views, length, *item_shape]`, `track` (the number in `ids`), and `target` where there are labels.
    """

    def __init__(self, *args: Any, views: int = 1, **named: Any) -> None:
        self.clips, self.views = ClipReader(*args, **named), views

    def __len__(self) -> int:
        return len(self.clips.ids)

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        track, seed = draw
        offsets = offset_range(self.clips.features.length(self.clips.ids[track]), self.clips.length)
        generator = np.random.default_rng(seed)
        return self.clips.item(track, [offsets[generator.integers(len(offsets))] for _ in range(self.views)])


class Windows(Dataset[Item]):
    """Fixed windows of every track: its centre, or all of it. Items hold `window`, their number, besides.

    Args:
        args, named: Of `ClipReader`.
        step: Distance of windows, rows; None takes the single window at the centre.
    """

    def __init__(self, *args: Any, step: int | None = None, **named: Any) -> None:
        self.clips = ClipReader(*args, **named)
        self.windows = [
            (track, start)
            for track, identity in enumerate(self.clips.ids)
            for start in window_starts(self.clips.features.length(identity), self.clips.length, step)
        ]

    @property
    def targets(self) -> Targets | None:
        """Of the tracks."""
        return self.clips.targets

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> Item:
        track, start = self.windows[number]
        return self.clips.item(track, [start]) | {
            "window": np.asarray(number),
            "start": np.asarray(start / self.clips.hop),
        }


def window_starts(length: int, rows: int, step: int | None) -> list[int]:
    """First rows of a track's windows; None as step gives the one at the centre."""
    if step is None:
        return [max(length - rows, 0) // 2]
    return [start for start, _ in exhaustive_windows(length, rows, step)]
