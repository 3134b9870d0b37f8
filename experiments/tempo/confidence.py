"""Whether a confidence means something: how often the tempo is right where the network is as sure as that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.text import aligned

PARTS = 10
FEWEST = 5  # songs of a part


@dataclass(frozen=True)
class ConfidenceBin:
    """Songs of similar confidence.

    Attributes:
        split: Which songs they are of.
        low: Their lowest confidence.
        high: Their highest.
        confidence: Its mean.
        accuracy1: Share of them whose tempo is right.
        songs: How many they are.
    """

    split: str
    low: float
    high: float
    confidence: float
    accuracy1: float
    songs: int


def by_decile(split: str, confidences: np.ndarray, right: np.ndarray) -> list[ConfidenceBin]:
    """Songs in ten equal parts by confidence, the least sure first; in fewer parts where they are few.

    Args:
        split: Which songs these are.
        confidences: 0..1, `[songs]`.
        right: Booleans `[songs]`.
    """
    order = np.argsort(confidences, kind="stable")
    parts = np.array_split(order, min(PARTS, max(1, len(order) // FEWEST)))
    return [
        ConfidenceBin(
            split,
            float(confidences[one].min()),
            float(confidences[one].max()),
            float(confidences[one].mean()),
            float(right[one].mean()),
            len(one),
        )
        for one in parts
        if len(one)
    ]


def text(parts: Sequence[ConfidenceBin]) -> str:
    """A line a part."""
    rows = [("songs by confidence", "confidence", "mean", "Accuracy1", "songs")]
    for one in parts:
        numbers = f"{100 * one.confidence:.0f}", f"{100 * one.accuracy1:.0f}", str(one.songs)
        rows.append((one.split, f"{100 * one.low:.0f}-{100 * one.high:.0f} %", *numbers))
    return aligned(rows)
