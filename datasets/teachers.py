"""A teacher's targets for crops of tracks: the second target of a student, from a store of the teacher's logits.

The teacher's logits are stored window by window, a student sees a crop from anywhere. Its target comes from the window
that shares most with the crop, from the mean over those that a longer crop holds whole, or from the mean over all. Hard
targets are those of MAEST's teacher-student recipe, soft ones those of EfficientAT (Schmid et al., ICASSP 2023) and,
between classes that exclude each other, of Hinton et al. (arXiv 1503.02531).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.store import Reader, Store, StoreError, stated

THRESHOLD = 0.45  # of MAEST's recipe; exclusive
WINDOWS = ("overlap", "mean")
# What the header of a store of logits has to say of its producer, and what it may say, each with its type.
NEEDED = {"labels": "a list of texts", "window_frames": "a number above 0", "hop_frames": "a number above 0"}
OPTIONAL = {"task": "a text", "weights": "a text", "options": "a mapping", "frame_rate": "a number above 0"}


@dataclass(frozen=True)
class Rule:
    """How the logits of some windows become the target of a clip.

    Attributes:
        soft: Probabilities; else zeros and ones.
        threshold: Hard targets are 1 where the probability is larger than this, or at the largest if none is.
        temperature: What logits are divided by before they become soft targets.
        exclusive: Whether exactly one class is right (softmax), or each is for itself (sigmoid).
        window: "overlap" takes the windows that lie within the clip, where there are several, else the one that shares
            most with it; "mean" all windows of the track.
    """

    soft: bool = False
    threshold: float = THRESHOLD
    temperature: float = 1.0
    exclusive: bool = False
    window: str = "overlap"

    def __post_init__(self) -> None:
        if self.window not in WINDOWS:
            raise ValueError(f"window={self.window!r}: expected one of {', '.join(WINDOWS)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}: expected a number above 0")


def read_logits(path: Path) -> Store:
    """Open a store of a teacher's logits, or the folder `logits` in a folder.

    Raises:
        StoreError: It holds something else, nothing, or does not say of what windows and classes its logits are.
    """
    if not (path / "header.json").is_file() and (path / "logits" / "header.json").is_file():
        path = path / "logits"
    store = Store(path, kind="logits")
    producer = {key: stated(store, key, expected) for key, expected in (NEEDED | OPTIONAL).items()}
    if lacking := [key for key in NEEDED if producer[key] is None]:
        raise StoreError(
            f"its header.json does not say {', '.join(lacking)} of its producer, without which nobody knows what the "
            "numbers mean"
        )
    if not len(store):
        raise StoreError("there is no track in it")
    if store.header.item_shape != (len(producer["labels"]),):
        raise StoreError(
            f"rows of shape {list(store.header.item_shape)} and {len(producer['labels'])} labels in its header.json"
        )
    return store


def probabilities(logits: np.ndarray, exclusive: bool = False, temperature: float = 1.0) -> np.ndarray:
    """Sigmoid, or softmax over the last axis, of `logits / temperature`; float64 of the same shape."""
    z = np.asarray(logits, np.float64) / temperature
    if exclusive:
        powers = np.exp(z - z.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    return 0.5 * (1 + np.tanh(z / 2))  # the sigmoid, for logits of any size


def harden(probability: np.ndarray, threshold: float = THRESHOLD, exclusive: bool = False) -> np.ndarray:
    """Zeros and ones from the probabilities of one clip.

    Args:
        probability: `[classes]`.
        threshold: Ones are where the probability is larger; where none is, the largest alone.
        exclusive: The largest alone in any case.

    Returns:
        float64 `[classes]`.
    """
    chosen = probability > threshold
    if exclusive or not chosen.any():
        chosen = np.arange(len(probability)) == probability.argmax()
    return chosen.astype(np.float64)


def overlapping(start: float, length: float, window: float, hop: float, windows: int) -> int:
    """Number of the window that shares most with a clip.

    Of several that share equally much, the one whose centre is nearest; of those, the first. A clip beyond the last
    window has the last.

    Args:
        start: Where the clip begins, in any unit.
        length: Of the clip, in that unit.
        window: Length of a window, in that unit.
        hop: Distance of two windows, in that unit.
        windows: How many there are; the first begins at 0.
    """
    first = hop * np.arange(windows)
    shared = np.minimum(start + length, first + window) - np.maximum(start, first)
    away = np.abs((first + window / 2) - (start + length / 2))
    return int(np.lexsort((away, -np.maximum(shared, 0)))[0])


class Teacher:
    """A teacher's targets by track and place.

    Args:
        store: Logits `[windows, classes]` a track.
        rule: How they become targets.
        window: Length of the teacher's windows, in frames of the student.
        hop: Their distance, in frames of the student.
        columns: Which logits count, in the order of the student's outputs; None takes all as they are.
        names: Ids of the student's tracks -> ids in the store, where they differ.
        without: Ids of the student's tracks whose logits do not count, whatever is stored.
    """

    def __init__(
        self,
        store: Reader,
        rule: Rule,
        window: float,
        hop: float,
        columns: Sequence[int] | None = None,
        names: Mapping[str, str] | None = None,
        without: Collection[str] = (),
    ) -> None:
        self.store, self.rule, self.window, self.hop = store, rule, window, hop
        self.columns = None if columns is None else np.asarray(columns, int)
        self.names, self.without = dict(names or {}), frozenset(without)

    @property
    def n_classes(self) -> int:
        """Length of a target."""
        return self.store.header.item_shape[0] if self.columns is None else len(self.columns)

    def __contains__(self, identity: str) -> bool:
        return identity not in self.without and self.names.get(identity, identity) in self.store

    def of(self, ids: Sequence[str]) -> TeacherTargets:
        """Targets of some tracks, by their number."""
        return TeacherTargets(self, tuple(ids))

    def targets(self, identity: str, start: float, frames: int) -> np.ndarray:
        """Target of a clip, float32 `[classes]`; NaN where the store has no logits of the track.

        Args:
            identity: The student's id of the track.
            start: First frame of the clip; what lies before the track is not counted.
            frames: Its length.
        """
        if identity not in self:
            return np.full(self.n_classes, np.nan, np.float32)
        stored = self.names.get(identity, identity)
        first, stop = 0, self.store.length(stored)
        if self.rule.window == "overlap" and stop > 1:
            first, stop = self._shared(max(start, 0), frames, stop)
        return self._target(stored, first, stop)

    def _shared(self, start: float, frames: int, windows: int) -> tuple[int, int]:
        """The first window that counts for a clip, and the one behind the last."""
        first = max(math.ceil(start / self.hop), 0)
        stop = min(math.floor((start + frames - self.window) / self.hop) + 1, windows)
        if stop - first < 2:
            first = overlapping(start, frames, self.window, self.hop, windows)
            stop = first + 1
        return first, stop

    def whole(self, identity: str) -> np.ndarray:
        """Target of a whole track, from the mean over all its windows; NaN where the store has no logits of it."""
        if identity not in self:
            return np.full(self.n_classes, np.nan, np.float32)
        stored = self.names.get(identity, identity)
        return self._target(stored, 0, self.store.length(stored))

    def _target(self, stored: str, first: int, stop: int) -> np.ndarray:
        """From the mean over some windows."""
        logits = self.store.read(stored, first, stop)
        logits = logits if self.columns is None else logits[:, self.columns]
        temperature = self.rule.temperature if self.rule.soft else 1.0
        mean = probabilities(logits, self.rule.exclusive, temperature).mean(axis=0)
        target = mean if self.rule.soft else harden(mean, self.rule.threshold, self.rule.exclusive)
        return target.astype(np.float32)


@dataclass(frozen=True)
class TeacherTargets:
    """A teacher's targets of a list of tracks, as `datasets.targets.Targets`.

    Attributes:
        teacher: Whose they are.
        ids: The student's ids of the tracks.
    """

    teacher: Teacher
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def crop(self, track: int, start: float, frames: int, rate: float = 1.0) -> Mapping[str, np.ndarray]:
        """`target [classes]` of a crop; NaN where there is none."""
        return {"target": self.teacher.targets(self.ids[track], start, round(frames * rate))}

    def whole(self, track: int) -> np.ndarray:
        """Target `[classes]` of the whole track."""
        return self.teacher.whole(self.ids[track])
