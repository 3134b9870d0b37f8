"""Tempo: beats per minute of a recording, as one of 256 classes or as a value.

Classes are the integers 30..285 BPM of Schreiber and Müller ("A single-step approach to musical tempo estimation using
a convolutional neural network", ISMIR 2018); their targets are widened to neighbouring classes, as Böck, Davies and
Knees do ("Multi-task learning of tempo and beat", ISMIR 2019). Regression is of the logarithm, so that equal ratios
cost the same.

Accuracy1 counts predictions within 4 % of the reference, Accuracy2 also those within 4 % of its double, triple, half or
third (Gouyon et al., "An experimental comparison of audio tempo induction algorithms", 2006). `mir_eval.tempo` measures
something else: the P-score weighs two reference tempi and takes 8 %. With one reference, one prediction and a
tolerance of 4 % its flag for one correct tempo is Accuracy1; Accuracy2 it does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.errors import UserError
from experiments.tasks.base import Task
from experiments.tasks.checks import (
    as_float32,
    as_number,
    checked_predictions,
    checked_values,
    finite_number,
)
from experiments.tasks.regression import Regression, constants
from models.metrics import resampled_means

if TYPE_CHECKING:
    from torch import Tensor

SLOWEST, FASTEST = 30, 285  # BPM, of the classes
LOWEST, HIGHEST = 10, 1000  # BPM: anything beyond is a mistake in the unit
WIDTH = 1.0  # classes: deviation of a widened target
OCTAVES = 12.0  # regression predicts between 1 and 2 ** 12 BPM, whatever the outputs
TOLERANCE = 0.04
FACTORS = (1.0, 2.0, 3.0, 1 / 2, 1 / 3)
RANGE = 20  # BPM, of the rows of `score_per_class`


def correct(estimates: np.ndarray, references: np.ndarray, factors: Sequence[float] = (1.0,)) -> np.ndarray:
    """Which estimates are within 4 % of a reference times any of the factors; booleans in the common shape."""
    expected = np.multiply.outer(np.asarray(factors, dtype=np.float64), np.asarray(references, dtype=np.float64))
    return (np.abs(expected - np.asarray(estimates, dtype=np.float64)) / expected <= TOLERANCE).any(axis=0)


class _Tempo(Task):
    """What both forms share: annotations and metrics."""

    annotations = ("tempo",)
    primary = "accuracy1"

    def encode(self, annotation: float) -> np.ndarray:
        """Return the tempo as it was annotated, float32 `[]`, BPM.

        Raises:
            UserError: It is no number, or none that can be a tempo.
        """
        bpm = finite_number(self.name, annotation)
        if not LOWEST <= bpm <= HIGHEST:
            unit = f" (is {bpm / 100:g} BPM meant?)" if SLOWEST <= bpm / 100 <= FASTEST else ""
            raise UserError(
                f"{self.name}: {bpm:g} BPM is no tempo, which is {LOWEST} to {HIGHEST} BPM{unit}; "
                f"leave the cell empty where there is none"
            )
        return np.array(bpm, dtype=np.float32)

    @classmethod
    def implausible(cls, annotations: Sequence[float]) -> dict[str, list[int]]:
        """Tempi beyond the classes, which are more often a mistake than music."""
        beyond = [number for number, bpm in enumerate(annotations) if not SLOWEST <= float(bpm) <= FASTEST]
        return {f"a tempo outside of {SLOWEST} to {FASTEST} BPM": beyond} if beyond else {}

    def score(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Share of the predictions that are correct.

        Args:
            predictions: As decoded, `[items, n_outputs]`.
            references: BPM, `[items]`.

        Returns:
            `accuracy1`, `accuracy2`, `n_items`.

        Raises:
            UserError: Shapes or values are not as above.
        """
        estimates, targets = self._checked(predictions, references)
        return {
            "accuracy1": float(correct(estimates, targets).mean()),
            "accuracy2": float(correct(estimates, targets, FACTORS).mean()),
            "n_items": float(len(targets)),
        }

    def score_per_class(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, dict[str, float]]:
        """Return `accuracy1`, `accuracy2` and `n_positive` of the references in every range of 20 BPM."""
        estimates, targets = self._checked(predictions, references)
        ranges, rows = np.array(self.strata(targets)), {}
        for name in dict.fromkeys(ranges[np.argsort(targets, kind="stable")].tolist()):
            inside = ranges == name
            rows[name] = {
                "accuracy1": float(correct(estimates[inside], targets[inside]).mean()),
                "accuracy2": float(correct(estimates[inside], targets[inside], FACTORS).mean()),
                "n_positive": float(inside.sum()),
            }
        return rows

    @staticmethod
    def strata(targets: np.ndarray) -> list[str]:
        """The range of every tempo, `[items]` BPM."""
        return [f"{RANGE * number}-{RANGE * (number + 1)} BPM" for number in (targets // RANGE).astype(int).tolist()]

    def score_resampled(
        self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray
    ) -> dict[str, np.ndarray]:
        """`accuracy1` and `accuracy2` under weightings of the items, `[resamples]` each."""
        estimates, targets = self._checked(predictions, references)
        one, two = correct(estimates, targets), correct(estimates, targets, FACTORS)
        return resampled_means({"accuracy1": one, "accuracy2": two}, weights)

    def _checked(self, predictions: Any, references: Any) -> tuple[np.ndarray, np.ndarray]:
        """Estimates and references, BPM, float64 `[items]` each."""
        values = checked_predictions(self, predictions)
        targets = checked_values(self, references, (len(values),))
        if (targets <= 0).any():
            raise UserError(f"{self.name}: a reference of {targets.min():g} BPM")
        return self.estimates(values), targets


class Tempo(_Tempo):
    """Classification into 30, 31, ... 285 BPM."""

    name = "tempo"
    kind = "class"
    classes = tuple(f"{bpm} BPM" for bpm in range(SLOWEST, FASTEST + 1))

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    def smooth_labels(self, targets: Tensor) -> Tensor:
        """Turn tempi `[items]` into class probabilities `[items, 256]`: a bell around each, of deviation one class.

        A tempo outside of the classes is taken for the nearest of them. Probabilities stay as they are.
        """
        import torch

        if targets.ndim == 2:
            return targets
        bpm = targets.float().clamp(SLOWEST, FASTEST)
        distance = torch.arange(SLOWEST, FASTEST + 1, device=bpm.device) - bpm[:, None]
        return torch.softmax(-0.5 * (distance / WIDTH) ** 2, dim=-1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with widened targets, mean over items.

        Args:
            outputs: Logits `[items, 256]`.
            targets: BPM `[items]`, or class probabilities `[items, 256]`, as mixup gives.
        """
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs.float(), self.smooth_labels(targets).float())

    def decode(self, outputs: Any) -> np.ndarray:
        """Return class probabilities, float32 `[items, 256]`: the softmax of the logits."""
        from scipy.special import softmax

        return softmax(as_float32(outputs), axis=-1)

    def estimates(self, predictions: np.ndarray) -> np.ndarray:
        """The tempo of the most probable class: `[items, 256]` to BPM, float64 `[items]`."""
        return predictions.argmax(axis=1).astype(np.float64) + SLOWEST

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once: outputs `[systems, items, 256]` to float64 `[systems]`."""
        return _accuracy1(outputs.argmax(-1).double() + SLOWEST, references)


class TempoRegression(_Tempo, Regression):
    """Regression of the binary logarithm of the tempo, of which mean and scale are."""

    name = "tempo_regression"
    classes = ("BPM",)

    @classmethod
    def measured(cls, annotations: Sequence[float]) -> dict[str, list[float]]:
        """Mean and population deviation of the logarithms of annotated tempi, as the constructor takes them."""
        tempi = np.array([as_number(bpm) for bpm in annotations], dtype=np.float64).reshape(-1, 1)
        return constants(np.log2(tempi, out=np.full_like(tempi, np.nan), where=tempi > 0))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Squared error of standardised logarithms, mean over items.

        Args:
            outputs: Standardised, `[items, 1]`.
            targets: BPM `[items]`; mixed ones are welcome.
        """
        return self.squared_error(outputs, targets.float().log2()[:, None])

    def decode(self, outputs: Any) -> np.ndarray:
        """Return the tempo, BPM, float32 `[items, 1]`, at least 1 and at most 4,096."""
        return np.exp2(np.clip(as_float32(outputs) * self.scale + self.mean, 0.0, OCTAVES))

    def estimates(self, predictions: np.ndarray) -> np.ndarray:
        """The tempo itself: `[items, 1]` to BPM, float64 `[items]`."""
        return predictions[:, 0].astype(np.float64)

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once: outputs `[systems, items, 1]` to float64 `[systems]`."""
        logarithms = self.values(outputs).clamp(0.0, OCTAVES)
        return _accuracy1(logarithms.exp2().double()[..., 0], references)


def _accuracy1(estimates: Tensor, references: Tensor) -> Tensor:
    """Share of the estimates `[systems, items]` within 4 % of the references `[items]`, in double as in `correct`."""
    expected = references.double()
    return ((estimates - expected).abs() / expected <= TOLERANCE).double().mean(-1)
