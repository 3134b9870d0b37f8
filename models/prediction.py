"""What a network predicts of one recording, and how its windows are joined to that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.rhythm.decoded import Decoded
from models.selection import Selection, fitted, one_class


@dataclass(frozen=True)
class Prediction:
    """Probabilities of classes, or values, of one recording.

    Attributes:
        labels: Names of the outputs.
        kind: Of the task: `class`, `tags`, `values` or `events`.
        times: Start of every window, seconds; of events, the time of every step.
        window: Length of a window, seconds; shorter where the recording is. Of events, distance of the steps.
        over_time: `[windows, outputs]`; of events `[steps, outputs]`.
        whole: Of the recording, `[outputs]`; of events the largest over time.
        selection: Which classes are given; None: of tags those above the usual threshold, else the most probable class.
        events: What was found in `over_time`, of a task about events.
    """

    labels: Sequence[str]
    kind: str
    times: np.ndarray
    window: float
    over_time: np.ndarray
    whole: np.ndarray
    selection: Selection | None = None
    events: Decoded | None = None

    @classmethod
    def of_events(cls, labels: Sequence[str], times: np.ndarray, over_time: np.ndarray, events: Decoded) -> Prediction:
        """Activations `[steps, outputs]` at some times, seconds, and what was found in them."""
        step = float(times[1] - times[0]) if len(times) > 1 else 0.0
        largest = over_time.max(axis=0, initial=0.0)
        return cls(labels, "events", times, step, over_time, largest, events=events)

    @property
    def probabilities(self) -> dict[str, float]:
        """Of the recording, by class.

        Raises:
            AttributeError: The task has values.
        """
        if self.kind == "values":
            raise AttributeError("this task has values, not probabilities: take .values")
        return self._named()

    @property
    def values(self) -> dict[str, float]:
        """Of the recording, by name.

        Raises:
            AttributeError: The task has classes.
        """
        if self.kind != "values":
            raise AttributeError("this task has probabilities of classes, not values: take .probabilities")
        return self._named()

    def best(self, n: int = 1) -> dict[str, float]:
        """The `n` most probable classes, the most probable first; of values all, in their order."""
        if self.kind == "values":
            return self._named()
        order = np.argsort(-self.whole, kind="stable")[:n]
        return {self.labels[number]: float(self.whole[number]) for number in order}

    @property
    def selected(self) -> dict[str, float]:
        """Probabilities of the tags that are given, the most probable first, or of the most probable class.

        Where no tag reaches its threshold, the most probable is given, and `below_thresholds` says so.

        Raises:
            AttributeError: The task has values.
        """
        return {self.labels[number]: float(self.whole[number]) for number in self._rule.numbers(self.whole)}

    @property
    def below_thresholds(self) -> bool:
        """Whether no tag reaches its threshold."""
        return not self._rule.given(self.whole[None]).any()

    @property
    def thresholds(self) -> dict[str, float] | None:
        """From which probability on each tag is given; None where thresholds are not what selects."""
        values = self._rule.thresholds
        return None if values is None else dict(zip(self.labels, values, strict=True))

    @property
    def _rule(self) -> Selection:
        if self.kind == "values":
            raise AttributeError("this task has values, none of which is selected: take .values")
        return self.selection or (fitted(None, self.labels) if self.kind == "tags" else one_class())

    def above(self, threshold: float) -> dict[str, float]:
        """Classes of that probability or more, the most probable first; perhaps none."""
        return {label: value for label, value in self.best(len(self.labels)).items() if value >= threshold}

    def _named(self) -> dict[str, float]:
        return dict(zip(self.labels, map(float, self.whole), strict=True))


def mean(predictions: np.ndarray) -> np.ndarray:
    """Mean over windows, `[windows, ...]` to float64 `[...]`; added window after window, whatever the shape."""
    return np.add.accumulate(predictions, axis=0, dtype=np.float64)[-1] / len(predictions)


def median(predictions: np.ndarray) -> np.ndarray:
    """Median over windows, `[windows, ...]` to float64 `[...]`; of an even number the lower of the two in the middle.

    So it is always what some window gave: between 60 and 120 BPM there is nobody's tempo.
    """
    return np.sort(predictions, axis=0)[(len(predictions) - 1) // 2].astype(np.float64)


def maximum(predictions: np.ndarray) -> np.ndarray:
    """Largest value over windows, `[windows, ...]` to float64 `[...]`."""
    return predictions.max(axis=0).astype(np.float64)


def vote(predictions: np.ndarray) -> np.ndarray:
    """Share of the windows in which each class is the most probable, `[windows, classes]` to float64 `[classes]`."""
    winners = np.bincount(predictions.argmax(axis=1), minlength=predictions.shape[1])
    return winners / len(predictions)


@dataclass(frozen=True)
class Join:
    """A way to join windows.

    Attributes:
        function: `[windows, ...]` to `[...]`.
        kinds: Of the tasks that it makes sense for.
        of_logits: Whether it takes logits, which become a prediction afterwards; else predictions.
    """

    function: Callable[[np.ndarray], np.ndarray]
    kinds: tuple[str, ...]
    of_logits: bool = False


JOINS = {
    "mean": Join(mean, ("class", "tags", "values")),
    "median": Join(median, ("values",)),
    "max": Join(maximum, ("class", "tags")),
    "vote": Join(vote, ("class",)),
    "mean_logits": Join(mean, ("class", "tags"), of_logits=True),
}
