"""Key: one of the 12 major and 12 minor keys per recording.

Measured by `mir_eval.key.weighted_score`, the weighted key score of MIREX, which gives part of a point where musicians
err too: half of one for the fifth above, 0.3 for the relative and 0.2 for the parallel key.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.keys import READABLE, parse_key
from experiments.errors import UserError
from experiments.tasks.single_label import SingleLabel
from models.metrics import resampled_means

if TYPE_CHECKING:
    from torch import Tensor

TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
MODES = ("major", "minor")
CLASSES = tuple(f"{tonic} {mode}" for mode in MODES for tonic in TONICS)


@cache
def score_table() -> np.ndarray:
    """mir_eval's weighted key score of every predicted key (column) for every reference (row), float64 `[24, 24]`.

    Read-only; looked up where calling mir_eval for every item would be slow, and on the device.
    """
    from mir_eval.key import weighted_score

    table = np.array([[weighted_score(reference, key) for key in CLASSES] for reference in CLASSES], dtype=np.float64)
    table.setflags(write=False)
    return table


class Key(SingleLabel):
    """Classification into 24 keys: C, Db, ... B major, then minor."""

    name = "key"
    annotations = ("key",)
    primary = "weighted_score"
    classes = CLASSES

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
        predicted, targets = self._checked(predictions, references)
        return {
            "weighted_score": float(score_table()[targets, predicted].mean()),
            "accuracy": float(np.mean(predicted == targets)),
            "n_items": float(len(targets)),
        }

    def score_per_class(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, dict[str, float]]:
        """Return `weighted_score`, `accuracy` and `n_positive` of every key that the references hold."""
        predicted, targets = self._checked(predictions, references)
        points = score_table()[targets, predicted]
        return {
            CLASSES[number]: {
                "weighted_score": float(points[targets == number].mean()),
                "accuracy": float((predicted[targets == number] == number).mean()),
                "n_positive": float((targets == number).sum()),
            }
            for number in np.unique(targets)
        }

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once: outputs `[systems, items, 24]` to float64 `[systems]`."""
        import torch

        table = torch.from_numpy(score_table().copy()).to(outputs.device)
        return table[references.long(), outputs.argmax(-1)].mean(-1)

    def score_resampled(
        self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray
    ) -> dict[str, np.ndarray]:
        """`weighted_score` and `accuracy` under weightings of the items, `[resamples]` each."""
        predicted, targets = self._checked(predictions, references)
        points = {"weighted_score": score_table()[targets, predicted], "accuracy": predicted == targets}
        return resampled_means(points, weights)
