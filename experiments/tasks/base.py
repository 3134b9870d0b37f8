"""What every task offers: targets, loss, decoding, joining of windows and metrics."""

from __future__ import annotations

import copy
import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from datasets.targets import ClipTargets, Targets
from datasets.time_grid import TimeGrid
from experiments.errors import UserError
from models.prediction import JOINS, Join

if TYPE_CHECKING:
    from torch import Tensor


class Task(ABC):
    """What is predicted of a recording. A new task is a subclass in one file and a row in `experiments.tasks.TASKS`.

    Attributes:
        name: Key in `experiments.tasks.TASKS`; in settings, a task of the user's own is `package.module:Class`.
        annotations: Which annotations of a track it is about, keys of `datasets.corpus.ANNOTATIONS`; a track that lacks
            one of several is not annotated.
        kind: What a prediction is: one of the classes, any number of them, values, or events in time.
        options: What its constructor takes to make it again; plain values. A task whose classes are those of a corpus
            has them there as `classes`.
        classes: Names of the outputs, in their order.
        primary: The metric that early stopping and selection look at; higher is better.
        shown: Metrics that the line of an epoch shows before others.
        clip_level: Whether a target and a prediction hold for a whole recording, so that those of several recordings
            can be stacked. `score` of other tasks takes lists, one array a recording, and such a task overrides
            `targets` and `join`.
        unit: What a row of `score_per_class` is about.
        scored: What `score` judges, where that is not what `predict` says; for a line about the figures.
        usual_join: How windows become one where nobody says it, a key of `models.prediction.JOINS`.
        panels: Of the curves of a training, title -> metrics that are drawn together, the only ones of a validation
            that are drawn beside losses; empty: a panel a metric.
        grid: Of a task over time: when the network that it is used with gives its outputs, see `on`.
    """

    name: str
    annotations: tuple[str, ...]
    kind: Literal["class", "tags", "values", "events"]
    options: Mapping[str, Any]
    classes: tuple[str, ...]
    primary: str
    shown: tuple[str, ...] = ()
    clip_level: bool = True
    unit: str = "class"
    scored: str = ""
    usual_join: str = "mean"
    panels: Mapping[str, Sequence[str]] = MappingProxyType({})
    grid: TimeGrid | None = None

    @property
    def n_outputs(self) -> int:
        """Values a network must give per item."""
        return len(self.classes)

    @property
    def monitor(self) -> str:
        """The metric by which the best epoch of a network's training is chosen, with `trainer.monitor=metric`."""
        return self.primary

    @property
    def unlearned(self) -> str:
        """What the annotations that it was made from do not teach, a sentence; empty where there is nothing."""
        return ""

    @property
    def metadata(self) -> dict[str, Any]:
        """What a file says of the task: `task`, `labels`, and `options` where labels are not all there is.

        `experiments.tasks.from_metadata` makes the task of it again.
        """
        kind = type(self)
        ours = kind.__module__.startswith("experiments.tasks.")
        name = self.name if ours else f"{kind.__module__}:{kind.__qualname__}"
        own = {} if "classes" in self.options else {"options": dict(self.options)}
        return {"task": name, "labels": list(self.classes), **own}

    @abstractmethod
    def encode(self, annotation: Any) -> np.ndarray:
        """Turn an annotation as a person wrote it, or a tuple of several, into a target of one item.

        Raises:
            UserError: It cannot be read.
        """

    def on(self, grid: TimeGrid) -> Self:
        """The same task with a network that gives its outputs at these times."""
        task = copy.copy(self)
        task.grid = grid
        return task

    def targets(self, annotations: Sequence[Any]) -> Targets:
        """What crops of tracks are trained against.

        Args:
            annotations: One a track, as `encode` takes them.

        Raises:
            UserError: An annotation cannot be read.
        """
        encoded = [self.encode(one) for one in annotations]
        return ClipTargets(np.stack(encoded) if encoded else np.empty((0, self.n_outputs), np.float32))

    def smooth_labels(self, targets: Tensor) -> Tensor:
        """Targets as numbers that can be mixed: class numbers become one-hot float32 `[items, n_outputs]`.

        Everything else stays as it is.
        """
        from torch.nn.functional import one_hot

        return targets if targets.is_floating_point() else one_hot(targets.long(), self.n_outputs).float()

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compare raw outputs `[items, n_outputs]` with a batch of targets.

        Args:
            outputs: Of the network.
            targets: Encoded, or smoothed and mixed.
            mask: Which values of the targets count; only given where the task's targets have a mask, so a task without
                one need not take it.

        Returns:
            A scalar, computed in float32.
        """

    @abstractmethod
    def decode(self, outputs: Any) -> np.ndarray:
        """Turn raw outputs `[items, n_outputs]`, a tensor or an array, into predictions."""

    def join(
        self,
        predictions: np.ndarray,
        starts: np.ndarray | None = None,
        how: str | None = None,
        frames: int | None = None,
    ) -> np.ndarray:
        """Turn the predictions of a track's windows into the prediction of the track.

        Args:
            predictions: As decoded, `[windows, ...]`, one window or more, in the order of the track.
            starts: First frame of every window, `[windows]`; for tasks over time.
            how: A key of `models.prediction.JOINS`, other than one of logits; None: `usual_join`.
            frames: Of the track, where it is known; what windows have beyond its end is padding.

        Raises:
            UserError: No such way to join, or none for this kind of task.
        """
        join = self.checked_join(how or self.usual_join)
        if join.of_logits:
            raise UserError(f"{self.name}: {how} joins logits, not predictions")
        return join.function(predictions)

    def join_outputs(
        self,
        outputs: Any,
        predictions: np.ndarray,
        starts: np.ndarray | None = None,
        how: str | None = None,
        frames: int | None = None,
    ) -> np.ndarray:
        """Turn the raw outputs of a track's windows, and the predictions they were decoded to, into the prediction of
        the track: arguments and errors as those of `join`, `outputs` being `[windows, n_outputs]`."""
        how = how or self.usual_join
        if self.clip_level and how in JOINS and JOINS[how].of_logits:
            mean = self.checked_join(how).function(np.asarray(outputs))
            return self.decode(mean[None])[0].astype(np.float64)
        return self.join(predictions, starts, how, frames)

    def checked_join(self, how: str) -> Join:
        """The way to join windows of that name.

        Raises:
            UserError: There is none, or none for this kind of task.
        """
        if how not in JOINS:
            raise unknown("way to join windows", how, JOINS)
        if self.kind not in JOINS[how].kinds:
            possible = ", ".join(name for name, join in JOINS.items() if self.kind in join.kinds)
            raise UserError(f"{self.name}: windows cannot be joined by {how}. Valid: {possible}")
        return JOINS[how]

    @abstractmethod
    def score(self, predictions: Any, references: Any) -> dict[str, float]:
        """Measure predictions against references; flat, finite, plain floats, counts with the prefix `n_`.

        Args:
            predictions: Stacked, `[items, ...]`; of a task that is not clip-level, a list with one array an item.
            references: Targets, likewise.
        """

    def score_further(self, predictions: Any, references: Any) -> dict[str, float]:
        """Metrics besides those of `score`, which a test reports and a validation does not need."""
        return {}

    def unscorable(self, references: Any) -> dict[str, int]:
        """Classes that the references do not allow to be measured, with the number of items that are of them."""
        return {}

    def score_per_class(self, predictions: Any, references: Any) -> dict[str, dict[str, float]]:
        """Measure every class that the references allow to be measured; the others are absent."""
        return {}

    def primary_score(self, predictions: Any, references: Any) -> float:
        """The value of `score(...)[primary]` alone, fast enough to be computed every few steps."""
        return self.score(predictions, references)[self.primary]

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once, on their device.

        Args:
            outputs: Raw outputs `[systems, items, n_outputs]`, finite.
            references: Stacked targets.

        Returns:
            float64 `[systems]`.
        """
        import torch

        wanted = references.detach().cpu().numpy()
        values = [self.primary_score(self.decode(one), wanted) for one in outputs]
        return torch.tensor(values, dtype=torch.float64, device=outputs.device)

    def score_resampled(
        self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """The metrics of `score`, without counts, for many resamples of the items at once.

        Args:
            predictions: `[items, ...]`.
            references: Stacked targets.
            weights: `[resamples, items]`, how often each resample holds each item.

        Returns:
            `[resamples]` by metric, NaN where a resample cannot be scored; None: call `score` on every resample.
        """
        return None

    def primary_resampled(
        self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray
    ) -> np.ndarray | None:
        """The primary metric of `score_resampled` alone, `[resamples]`; None where that is not faster."""
        return None

    def score_per_class_resampled(
        self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray
    ) -> dict[tuple[str, str], np.ndarray]:
        """Metrics of `score_per_class` for many resamples: (class, metric) -> `[resamples]`, NaN where not scorable."""
        return {}

    def confusion(self, predictions: np.ndarray, references: np.ndarray) -> np.ndarray | None:
        """Count items by reference (row) and prediction (column), int64 `[n_outputs, n_outputs]`; None: no classes."""
        return None

    def strata(self, targets: np.ndarray) -> list[str] | None:
        """What kind of track each is, where targets are neither classes nor tags; None: the classes tell."""
        return None

    @classmethod
    def measured(cls, annotations: Sequence[Any]) -> dict[str, Any]:
        """The options that depend on the annotated values of all tracks but those of the test."""
        return {}

    @classmethod
    def implausible(cls, annotations: Sequence[Any]) -> dict[str, list[int]]:
        """What is implausible about annotated values, and the numbers of those it is true of."""
        return {}


def annotated(names: Sequence[str], annotations: Mapping[str, Any]) -> Any | None:
    """What a task's `encode` takes of a track's annotations.

    Args:
        names: The annotations that the task is about.
        annotations: Of the track, by name.

    Returns:
        The annotation, or a tuple where the task is about several; None where one is missing.
    """
    values = tuple(annotations.get(name) for name in names)
    if any(one is None for one in values):
        return None
    return values if len(values) > 1 else values[0]


def unknown(kind: str, name: Any, valid: Iterable[str]) -> UserError:
    """Make the error for a name that a table does not have: what was given, the nearest, and all there are.

    Args:
        kind: What the name stands for, e.g. "genre".
        name: What was given.
        valid: The names there are; more than 30 are shortened.
    """
    names = [str(one) for one in valid]
    folded = {one.casefold(): one for one in reversed(names)}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.5)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else "."
    listed = ", ".join(names[:30]) + (f", ... ({len(names)} in all)" if len(names) > 30 else "")
    return UserError(f"unknown {kind} {name!r}{hint} Valid: {listed}")
