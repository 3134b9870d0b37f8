"""What crops of tracks are trained against, and what predictions of whole tracks are scored against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


def any_rate(low: float, high: float, rng: np.random.Generator) -> float:
    """A speed between two, uniform in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


class Targets(Protocol):
    """Targets of tracks, which are counted from 0. Places are in frames of the front end."""

    def __len__(self) -> int:
        """Number of tracks."""

    def crop(self, track: int, start: float, frames: int, rate: float = 1.0) -> Mapping[str, np.ndarray]:
        """What a crop is trained against.

        Args:
            track: Its number.
            start: Where the crop begins; below 0 where padding comes before the track.
            frames: Its length, after a change of its speed.
            rate: How many times faster it is played than the track.

        Returns:
            `target`, and `mask` where some of it is unknown: 1 where it is known, else 0.
        """

    def whole(self, track: int) -> Any:
        """What the prediction of the track is scored against."""

    def without_padding(self, crop: Mapping[str, np.ndarray], frames: float) -> Mapping[str, np.ndarray]:
        """What `crop` gave, where only so many frames from its beginning on are of the track; here the same."""
        return crop

    def draw_rate(self, track: int, low: float, high: float, rng: np.random.Generator) -> float:
        """How many times faster a crop of the track is to be played, between two bounds."""
        return any_rate(low, high, rng)


class ClipTargets(Targets):
    """One target a track, wherever a crop of it lies.

    Args:
        array: `[tracks, ...]`.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def crop(self, track: int, start: float, frames: int, rate: float = 1.0) -> Mapping[str, np.ndarray]:
        """`target`: the track's row."""
        return {"target": self.whole(track)}

    def whole(self, track: int) -> np.ndarray:
        """The track's row."""
        return np.asarray(self.array[track])


class FrameTargets(Targets):
    """A target for every frame of a track.

    Args:
        arrays: `[frames, ...]` of every track, of any lengths.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays)

    def crop(self, track: int, start: float, frames: int, rate: float = 1.0) -> Mapping[str, np.ndarray]:
        """`target [frames, ...]`, 0 outside of the track; `mask [frames]` float32 says where it is inside."""
        array = self.arrays[track]
        places = np.rint(start + rate * np.arange(frames)).astype(np.int64)
        inside = (places >= 0) & (places < len(array))
        target = np.zeros((frames, *array.shape[1:]), array.dtype)
        target[inside] = array[places[inside]]
        return {"target": target, "mask": inside.astype(np.float32)}

    def whole(self, track: int) -> np.ndarray:
        """All frames of the track."""
        return self.arrays[track]
