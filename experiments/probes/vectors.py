"""Tracks of a split as vectors and targets: what probes are trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datasets.text import pluralize
from experiments.errors import UserError


@dataclass(frozen=True)
class Split:
    """Tracks of one split as matrices.

    Attributes:
        x: One vector a track, float32 `[tracks, values]`.
        y: Stacked targets of a task, `[tracks, ...]`.
        ids: The tracks, in the order of the rows.
        features: What made the vectors: `kind`, `fingerprint`, `reduction`, and where they can be made of new audio
            the `producer` of the store.
        groups: What each track is a clip of, where clips are evaluated together; None where each is evaluated alone.
        layers: How many vectors of equal width stand side by side in a row, for a learned sum of them.
    """

    x: np.ndarray
    y: np.ndarray
    ids: list[str]
    features: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] | None = None
    layers: int = 1

    def __post_init__(self) -> None:
        """Refuse matrices that do not fit together.

        Raises:
            UserError: Nothing in it, rows that do not match, or values that are not finite.
        """
        if self.x.ndim != 2 or not len(self.x) or not len(self.x) == len(self.y) == len(self.ids):
            raise UserError(
                f"features of shape {list(self.x.shape)}, targets of shape {list(self.y.shape)}, "
                f"{pluralize(len(self.ids), 'id')}: "
                "expected [tracks, values], one target and one id a track, and 1 track or more"
            )
        broken = np.argwhere(~np.isfinite(self.x))
        if len(broken):
            row, column = broken[0]
            raise UserError(
                f"track {self.ids[row]!r}: value {column} of its features is {self.x[row, column]}; extract it again"
            )


def same_origin(first: str, one: Mapping[str, Any], second: str, other: Mapping[str, Any]) -> None:
    """Compare what made two sets of vectors.

    Raises:
        UserError: They differ; `first` and `second` begin the two halves of the message.
    """
    for name in sorted({*one, *other}):
        if one.get(name) != other.get(name):
            raise UserError(
                f"{first} {name} {one.get(name)!r}, {second} {name} {other.get(name)!r}; extract them alike"
            )
