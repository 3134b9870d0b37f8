"""Genre: one class per recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.errors import UserError
from experiments.tasks.base import unknown
from experiments.tasks.checks import checked_classes
from experiments.tasks.single_label import SingleLabel
from models.metrics import resampled_accuracy_and_f1

if TYPE_CHECKING:
    from torch import Tensor


class Genre(SingleLabel):
    """Single-label classification.

    Args:
        classes: The genres, in the order of the outputs.
    """

    name = "genre"
    annotations = ("genre",)
    primary = "accuracy"

    def __init__(self, classes: Sequence[str]):
        self.classes = checked_classes(self.name, classes, at_least=2)
        self.options = {"classes": list(self.classes)}
        self._column = {genre: column for column, genre in enumerate(self.classes)}

    def encode(self, annotation: str) -> np.ndarray:
        """Return the number of a genre, an int64 array of shape `[]`.

        Raises:
            UserError: The genre is not among the classes, or there are several.
        """
        if isinstance(annotation, tuple) and len(annotation) == 1:
            (annotation,) = annotation
        if isinstance(annotation, tuple):
            raise UserError(
                f"genre: {' and '.join(map(repr, annotation)) or 'none'} given, expected one; "
                f"datamodule.columns.tags=COLUMN reads a column of several as tags"
            )
        if not isinstance(annotation, str) or annotation not in self._column:
            raise unknown("genre", annotation, self.classes)
        return np.array(self._column[annotation], dtype=np.int64)

    def score(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Accuracy of the most probable class, and F1 averaged over the classes that the references hold.

        Args:
            predictions: Probabilities `[items, n_outputs]`.
            references: Class numbers `[items]`.

        Returns:
            `accuracy`, `macro_f1`, `n_scorable` (classes that the references hold), `n_items`.

        Raises:
            UserError: Shapes or values are not as above.
        """
        from sklearn.metrics import accuracy_score, f1_score

        predicted, targets = self._checked(predictions, references)
        present = np.unique(targets)
        return {
            "accuracy": float(accuracy_score(targets, predicted)),
            "macro_f1": float(f1_score(targets, predicted, labels=present, average="macro", zero_division=0)),
            "n_scorable": float(len(present)),
            "n_items": float(len(targets)),
        }

    def score_per_class(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, dict[str, float]]:
        """Return `f1`, `precision`, `recall` and `n_positive` of every class that the references hold."""
        from sklearn.metrics import precision_recall_fscore_support

        predicted, targets = self._checked(predictions, references)
        present = np.unique(targets)
        columns = precision_recall_fscore_support(targets, predicted, labels=present, zero_division=0)
        names = ("precision", "recall", "f1", "n_positive")
        return {
            self.classes[number]: {name: float(column[row]) for name, column in zip(names, columns, strict=True)}
            for row, number in enumerate(present)
        }

    def primary_score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """Accuracy alone."""
        predicted, targets = self._checked(predictions, references)
        return float(np.mean(predicted == targets))

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once: outputs `[systems, items, n_outputs]` to float64 `[systems]`."""
        return (outputs.argmax(-1) == references).double().mean(-1)

    def score_resampled(
        self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray
    ) -> dict[str, np.ndarray]:
        """`accuracy` and `macro_f1` under weightings of the items, `[resamples]` each."""
        return resampled_accuracy_and_f1(*self._checked(predictions, references), weights, self.n_outputs)
