"""Which classes of a prediction are given: those above thresholds, the best few, or the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.thresholds import USUAL, Thresholds


@dataclass(frozen=True)
class Selection:
    """A rule.

    Attributes:
        source: Where it comes from, in words.
        thresholds: Probability from which on each class is given, `[classes]`; None: the best `n` are given.
        n: How many are given without thresholds.
    """

    source: str
    thresholds: tuple[float, ...] | None = None
    n: int = 1

    @property
    def rule(self) -> str:
        """`thresholds`, `top` or `argmax`."""
        if self.thresholds is not None:
            return "thresholds"
        return "argmax" if self.n == 1 else "top"

    def given(self, scores: np.ndarray) -> np.ndarray:
        """Which classes the rule gives, Booleans `[items, classes]` of probabilities; perhaps none of an item."""
        if self.thresholds is not None:
            return scores >= np.asarray(self.thresholds)
        given = np.zeros(scores.shape, dtype=bool)
        np.put_along_axis(given, np.argsort(-scores, axis=1, kind="stable")[:, : self.n], True, axis=1)
        return given

    def numbers(self, scores: np.ndarray) -> list[int]:
        """Of one item, `[classes]`, the classes that are given, the most probable first; where none is, that one."""
        order = np.argsort(-scores, kind="stable")
        given = self.given(scores[None])[0]
        return [int(number) for number in order if given[number]] or [int(order[0])]


def one_class() -> Selection:
    """The rule of tasks whose classes exclude each other."""
    return Selection("the most probable class")


def same_for_all(threshold: float, n: int, source: str) -> Selection:
    """One threshold for `n` classes."""
    return Selection(source, (float(threshold),) * n)


def fitted(thresholds: Thresholds | None, labels: Sequence[str]) -> Selection:
    """The rule of a tagger, by the thresholds that its checkpoint has, or without any by the usual one."""
    if thresholds is None:
        return same_for_all(USUAL, len(labels), f"{USUAL} for all tags: no thresholds were fitted")
    return Selection(f"fitted on {thresholds.split}, {thresholds.tracks:,} tracks", thresholds.values)
