"""Tempo: beats per minute of a recording, as one of 256 classes or as a value.

Classes are the integers 30..285 BPM of Schreiber and Müller ("A single-step approach to musical tempo estimation using
a convolutional neural network", ISMIR 2018); their targets are widened to neighbouring classes, as Böck, Davies and
Knees do ("Multi-task learning of tempo and beat", ISMIR 2019). Regression is of the logarithm, so that equal ratios
cost the same.

`score` takes the most probable class, as the papers do; what is said of a recording (`estimate`), and the metrics of
`score_further`, take the tempo between the classes (`models.rhythm.tempo_distribution`). For the metrics see
`experiments.tasks.tempo_metrics`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.targets import Targets
from datasets.tempo_targets import TempoTargets
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
from experiments.tasks.tempo_metrics import FACTORS, TOLERANCE, correct, p_scores, per_item, with_one_reference
from models.metrics import resampled_means
from models.rhythm import tempo_distribution
from models.rhythm.tempo_distribution import TempoEstimate

if TYPE_CHECKING:
    from torch import Tensor

SLOWEST, FASTEST = 30, 285  # BPM, of the classes
LOWEST, HIGHEST = 10, 1000  # BPM: anything beyond is a mistake in the unit
WIDTH = 1.0  # classes: deviation of a widened target
OCTAVES = 12.0  # regression predicts between 1 and 2 ** 12 BPM, whatever the outputs
OCTAVE_FACTORS = (1.0, 0.5, 2.0)
RANGE = 20  # BPM, of the rows of `score_per_class`


def check_range(name: str, low: float | None, high: float | None) -> None:
    """Refuse a range that no class lies in.

    Raises:
        UserError: It ends before it begins, or lies beside the classes.
    """
    least, most = low or 0, high or np.inf
    if least > most or max(np.ceil(least), SLOWEST) > min(np.floor(most), FASTEST):
        raise UserError(
            f"{name}: no tempo between {least:g} and {most:g} BPM; give min_bpm below max_bpm, and a range that holds "
            f"some of {SLOWEST} to {FASTEST} BPM"
        )


class TempoTask(Task):
    """What both forms share: annotations and metrics."""

    annotations = ("tempo",)
    primary = "accuracy1"
    unit = "range"

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

    def targets(self, annotations: Sequence[Any]) -> Targets:
        """Tempi that move with the speed of a crop, which does not leave the classes."""
        encoded = [self.encode(one) for one in annotations]
        return TempoTargets(np.stack(encoded) if encoded else np.empty(0, np.float32), SLOWEST, FASTEST)

    @abstractmethod
    def estimate(
        self,
        prediction: np.ndarray,
        windows: np.ndarray | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> TempoEstimate:
        """The tempo of a recording, a second one, and how sure they are.

        Args:
            prediction: Of the recording, `[n_outputs]`.
            windows: Of its windows, `[windows, n_outputs]`; None: it is one.
            low: No estimate lies below, BPM: classes there do not count, values are doubled.
            high: Nor above.

        Raises:
            UserError: No tempo can lie between `low` and `high`.
        """

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

    def score_further(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Metrics of the tempi that `estimate` gives: Accuracy0, the accuracy within 8 %, octave errors, P-score."""
        values = checked_predictions(self, predictions)
        targets = checked_values(self, references, (len(values),))
        found = [self.estimate(one) for one in values]
        tempi = np.array([[one.tempo, one.second] for one in found])
        items = {
            name: one for name, one in per_item(tempi[:, 0], targets).items() if name not in ("accuracy1", "accuracy2")
        }
        scores = items | {"p_score": p_scores(tempi, *with_one_reference(targets))}
        return {name: float(one.mean()) for name, one in scores.items()}

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


class Tempo(TempoTask):
    """Classification into 30, 31, ... 285 BPM."""

    name = "tempo"
    kind = "class"
    scored = "of the most probable class, by which training selects; the figures below: of the tempo between classes"
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

    def estimate(
        self,
        prediction: np.ndarray,
        windows: np.ndarray | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> TempoEstimate:
        """See `TempoTask.estimate`; confidence is the probability of a tempo within 4 %."""
        check_range(self.name, low, high)
        return tempo_distribution.estimate(np.asarray(prediction, np.float64), SLOWEST, low, high)

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once: outputs `[systems, items, 256]` to float64 `[systems]`."""
        return _accuracy(outputs.argmax(-1).double() + SLOWEST, references)


class TempoAnyOctave(Tempo):
    """The same, the tempo of any octave being as good: trained and judged by Accuracy2, its Accuracy1 means nothing.

    The loss is the smallest of those against the tempo, its half and its double.
    """

    name = "tempo_any_octave"
    primary = "accuracy2"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Tempo.loss`; an octave beyond the classes does not count."""
        import torch
        from torch.nn.functional import log_softmax

        logs = log_softmax(outputs.float(), dim=-1)
        if targets.ndim == 1:
            octaves = [self._octave(targets.float(), factor) for factor in OCTAVE_FACTORS]
        else:
            bpm = torch.arange(SLOWEST, FASTEST + 1, device=logs.device).float()
            octaves = [targets.float(), *(targets.float() @ self._octave(bpm, one) for one in OCTAVE_FACTORS[1:])]
        return torch.stack([-(octave * logs).sum(-1) for octave in octaves]).amin(0).mean()

    def _octave(self, bpm: Tensor, factor: float) -> Tensor:
        """Class probabilities of tempi `[items]` times a factor; of the tempi themselves where that is no class."""
        import torch

        other = factor * bpm
        return self.smooth_labels(torch.where((other >= SLOWEST) & (other <= FASTEST), other, bpm))

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once: outputs `[systems, items, 256]` to float64 `[systems]`."""
        return _accuracy(outputs.argmax(-1).double() + SLOWEST, references, FACTORS)


class TempoRegression(TempoTask, Regression):
    """Regression of the binary logarithm of the tempo, of which mean and scale are."""

    name = "tempo_regression"
    classes = ("BPM",)
    usual_join = "median"  # the mean of 60 and 120 is nobody's tempo

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

    def estimate(
        self,
        prediction: np.ndarray,
        windows: np.ndarray | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> TempoEstimate:
        """See `TempoTask.estimate`; confidence is the share of the windows that agree within 4 %, of several."""
        check_range(self.name, low, high)
        of_windows = np.empty(0) if windows is None else np.asarray(windows)
        return tempo_distribution.estimate_of_values(float(np.ravel(prediction)[0]), of_windows, low, high)

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once: outputs `[systems, items, 1]` to float64 `[systems]`."""
        logarithms = self.values(outputs).clamp(0.0, OCTAVES)
        return _accuracy(logarithms.exp2().double()[..., 0], references)


def _accuracy(estimates: Tensor, references: Tensor, factors: Sequence[float] = (1.0,)) -> Tensor:
    """Share of the estimates `[systems, items]` that `correct` accepts for the references `[items]`."""
    import torch

    expected = torch.stack([factor * references.double() for factor in factors])[:, None]
    return ((estimates - expected).abs() / expected <= TOLERANCE).any(0).double().mean(-1)
