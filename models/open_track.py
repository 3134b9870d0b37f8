"""A track that is cut into windows, while they go through a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class OpenTrack:
    """A track whose windows wait for the network.

    Attributes:
        name: Of the track.
        starts: Of its windows, rows.
        windows: Equally long arrays.
        rows: Of the track, where the task needs to know.
        outputs: Of the windows that are through; a tuple of arrays each where the network gives several.
    """

    name: str
    starts: np.ndarray
    windows: list[np.ndarray]
    rows: int | None = None
    outputs: list[Any] = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.length, self.left = len(self.windows[0]), len(self.windows)
        self.outputs = [None] * self.left
