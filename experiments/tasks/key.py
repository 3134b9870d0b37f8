"""Key: one of the 12 major and 12 minor keys per recording.

Judged by the weighted key score of MIREX, which gives part of a point to answers that musicians confuse too: half of
one for the fifth above, 0.3 for the relative and 0.2 for the parallel key, as `mir_eval.key` has it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.keys import READABLE, parse_key
from experiments.errors import UserError
from experiments.tasks.base import as_float32, checked_numbers, checked_predictions

if TYPE_CHECKING:
    from torch import Tensor

TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
MODES = ("major", "minor")
CLASSES = tuple(f"{tonic} {mode}" for mode in MODES for tonic in TONICS)
RELATED = {  # semitones from the reference's tonic up to the answer's, by the modes of both
    ("major", "major"): {0: 1.0, 7: 0.5},
    ("minor", "minor"): {0: 1.0, 7: 0.5},
    ("major", "minor"): {0: 0.2, 9: 0.3},
    ("minor", "major"): {0: 0.2, 3: 0.3},
}


@cache
def score_table() -> np.ndarray:
    """The weighted key score of every answer (column) to every reference (row), float64 `[24, 24]`; read-only."""
    table = np.zeros((len(CLASSES), len(CLASSES)))
    for reference in range(len(CLASSES)):
        for answer in range(len(CLASSES)):
            related = RELATED[MODES[reference // 12], MODES[answer // 12]]
            table[reference, answer] = related.get((answer - reference) % 12, 0.0)
    table.setflags(write=False)
    return table


class Key:
    """Classification into 24 keys: C, Db, ... B major, then minor."""

    name = "key"
    annotations = ("key",)
    kind = "class"
    primary = "weighted_score"
    classes = CLASSES
    n_outputs = len(CLASSES)

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    def encode(self, annotation: str) -> np.ndarray:
        """Return the number of a key, an int64 array of shape `[]`.

        Raises:
            UserError: It is no major or minor key.
        """
        number = parse_key(annotation) if isinstance(annotation, str) else None
        if number is None:
            raise UserError(
                f"key {annotation!r} is none of the 24 major and minor keys; expected one such as {READABLE}; "
                f"leave the cell empty where there is none"
            )
        return np.array(number, dtype=np.int64)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, mean over items.

        Args:
            outputs: Logits `[items, 24]`.
            targets: Class numbers `[items]`, or class probabilities `[items, 24]`, as mixup gives.
        """
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs.float(), targets.float() if targets.is_floating_point() else targets.long())

    def decode(self, outputs: Any) -> np.ndarray:
        """Return class probabilities, float32 `[items, 24]`: the softmax of the logits."""
        from scipy.special import softmax

        return softmax(as_float32(outputs), axis=-1)

    def score(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Weighted key score and accuracy of the most probable key.

        Args:
            predictions: Probabilities `[items, 24]`.
            references: Class numbers `[items]`.

        Returns:
            `weighted_score` (mean over items), `accuracy`, `n_items`.

        Raises:
            UserError: Shapes or values are not as above.
        """
        answers, targets = self._checked(predictions, references)
        return {
            "weighted_score": float(score_table()[targets, answers].mean()),
            "accuracy": float(np.mean(answers == targets)),
            "n_items": float(len(targets)),
        }

    def score_per_class(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, dict[str, float]]:
        """Return `weighted_score`, `accuracy` and `n_positive` of every key that the references hold."""
        answers, targets = self._checked(predictions, references)
        points = score_table()[targets, answers]
        return {
            CLASSES[number]: {
                "weighted_score": float(points[targets == number].mean()),
                "accuracy": float((answers[targets == number] == number).mean()),
                "n_positive": float((targets == number).sum()),
            }
            for number in np.unique(targets)
        }

    def confusion(self, predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Count items by reference (row) and answer (column): int64 `[24, 24]`."""
        answers, targets = self._checked(predictions, references)
        counts = np.zeros((self.n_outputs, self.n_outputs), dtype=np.int64)
        np.add.at(counts, (targets, answers), 1)
        return counts

    def primary_score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """The weighted key score alone."""
        answers, targets = self._checked(predictions, references)
        return float(score_table()[targets, answers].mean())

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once: outputs `[systems, items, 24]` to float64 `[systems]`."""
        import torch

        table = torch.from_numpy(score_table().copy()).to(outputs.device)
        return table[references.long(), outputs.argmax(-1)].mean(-1)

    def score_resampled(
        self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The metrics of `score` for many resamples of the items at once.

        Args:
            predictions: Probabilities `[items, 24]`.
            references: Class numbers `[items]`.
            weights: `[resamples, items]`, how often each resample holds each item.

        Returns:
            `weighted_score` and `accuracy`, each `[resamples]`.
        """
        answers, targets = self._checked(predictions, references)
        points = np.stack([score_table()[targets, answers], answers == targets], axis=1)
        drawn = np.asarray(weights, dtype=np.float64)
        weighted, right = (drawn @ points / drawn.sum(axis=1, keepdims=True)).T
        return {"weighted_score": weighted, "accuracy": right}

    def _checked(self, predictions: Any, references: Any) -> tuple[np.ndarray, np.ndarray]:
        answers = checked_predictions(self, predictions).argmax(axis=1)
        return answers, checked_numbers(self, references, len(answers))
