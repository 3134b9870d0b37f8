"""Clips of stored tracks for a network: random crops to train on, fixed windows to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch.utils.data import Dataset

from datasets.windows import exhaustive_windows, offset_range


class Features(Protocol):
    """What clips are cut from: a store of mel frames, or a folder of upstream's files."""

    def length(self, identity: str) -> int:
        """Frames of a track."""

    def read_crop(self, identity: str, start: int, length: int) -> np.ndarray:
        """`[length, bands]` from `start` on; a track shorter than `length` is centred in zeros."""


class Targets(Protocol):
    """What a teacher says about clips: `datasets.teachers.Teacher`."""

    def targets(self, identity: str, start: int, frames: int) -> np.ndarray:
        """`[classes]` for `frames` frames from `start` on; NaN for a track it has not heard."""


class RandomCrops(Dataset[dict[str, np.ndarray]]):
    """One clip of `frames` frames from a random place of a track (offsets uniform, short tracks centred in zeros).

    Indexed by the pairs that `datasets.samplers.EpochSampler` yields. An item holds `mel [frames, bands]`, `target`
    and `track` (the number in `ids`), and where there is a teacher what it says about the clip as `teacher`.
    """

    def __init__(
        self,
        features: Features,
        ids: Sequence[str],
        targets: np.ndarray,
        frames: int,
        teacher: Targets | None = None,
    ) -> None:
        self.features, self.ids, self.targets, self.frames, self.teacher = features, ids, targets, frames, teacher

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, np.ndarray]:
        track, seed = draw
        identity = self.ids[track]
        offsets = offset_range(self.features.length(identity), self.frames)
        start = offsets[np.random.default_rng(seed).integers(len(offsets))]
        return _item(self.features, identity, start, self.frames, self.targets[track], track, self.teacher)


class Windows(Dataset[dict[str, np.ndarray]]):
    """Fixed windows of every track: its centre, or all of it. Items hold `window`, their number, besides.

    Args:
        features: The store.
        ids: Stored track ids.
        targets: `[tracks, ...]`.
        frames: Length of a window.
        hop: Distance of windows, frames; None takes the single window at the centre.
        teacher: What it says about each window is `teacher` of the items.
    """

    def __init__(
        self,
        features: Features,
        ids: Sequence[str],
        targets: np.ndarray,
        frames: int,
        hop: int | None = None,
        teacher: Targets | None = None,
    ) -> None:
        self.features, self.ids, self.targets, self.frames, self.teacher = features, ids, targets, frames, teacher
        self.windows = [
            (track, start)
            for track, identity in enumerate(ids)
            for start in window_starts(features.length(identity), frames, hop)
        ]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        track, start = self.windows[number]
        item = _item(self.features, self.ids[track], start, self.frames, self.targets[track], track, self.teacher)
        return item | {"window": np.asarray(number)}


def window_starts(length: int, frames: int, hop: int | None) -> list[int]:
    """First frames of a track's windows; None as hop gives the one at the centre."""
    if hop is None:
        return [max(length - frames, 0) // 2]
    return [start for start, _ in exhaustive_windows(length, frames, hop)]


def _item(
    features: Features, identity: str, start: int, frames: int, target: np.ndarray, track: int, teacher: Targets | None
) -> dict[str, np.ndarray]:
    mel = features.read_crop(identity, start, frames)
    item = {"mel": mel, "target": np.asarray(target), "track": np.asarray(track)}
    return item if teacher is None else item | {"teacher": teacher.targets(identity, start, frames)}
