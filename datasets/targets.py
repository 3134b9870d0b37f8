"""What crops of tracks are trained against: one target a track, or one a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Targets(Protocol):
    """Targets of tracks, which are numbered from 0."""

    def __len__(self) -> int:
        """Number of tracks."""

    def crop(self, track: int, start: float, frames: int) -> dict[str, np.ndarray]:
        """The target of a crop, and where it needs one the mask of what counts of it.

        Args:
            track: Its number.
            start: First frame of the crop; negative where a short track is padded in front.
            frames: Length of the crop.

        Returns:
            `target`, and `mask` (float32, 1 where the target is known) if it is not known everywhere.
        """

    def whole(self, track: int) -> np.ndarray:
        """What predictions of the whole track are measured against."""


class ClipTargets:
    """One target a track, the same for all of its crops.

    Args:
        values: `[tracks, ...]`.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def crop(self, track: int, start: float, frames: int) -> dict[str, np.ndarray]:
        """The target of the track."""
        return {"target": self.values[track]}

    def whole(self, track: int) -> np.ndarray:
        """The target of the track."""
        return self.values[track]


class FrameTargets:
    """One target a frame.

    Args:
        values: `[frames, ...]` of every track.
    """

    def __init__(self, values: Sequence[np.ndarray]) -> None:
        self.values = list(values)

    def __len__(self) -> int:
        return len(self.values)

    def crop(self, track: int, start: float, frames: int) -> dict[str, np.ndarray]:
        """The targets of a crop's frames, `[frames, ...]`; zeros with a mask of 0 where the track has no frame."""
        values, first = self.values[track], round(start)
        target = np.zeros((frames, *values.shape[1:]), values.dtype)
        mask = np.zeros(frames, np.float32)
        inside = slice(max(first, 0), max(min(first + frames, len(values)), 0))
        placed = slice(inside.start - first, inside.stop - first)
        if inside.start < inside.stop:
            target[placed], mask[placed] = values[inside], 1
        return {"target": target, "mask": mask}

    def whole(self, track: int) -> np.ndarray:
        """The targets of all frames of the track."""
        return self.values[track]
