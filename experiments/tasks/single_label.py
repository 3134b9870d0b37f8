"""What tasks with one class a recording share: cross-entropy, softmax and the confusion matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.tasks.base import Task
from experiments.tasks.checks import as_float32, checked_numbers, checked_predictions

if TYPE_CHECKING:
    from torch import Tensor


class SingleLabel(Task):
    """Classification whose targets are class numbers, int64 `[items]`."""

    kind = "class"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, mean over items.

        Args:
            outputs: Logits `[items, n_outputs]`.
            targets: Class numbers `[items]`, or class probabilities `[items, n_outputs]`, as mixup gives.
        """
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs.float(), targets.float() if targets.is_floating_point() else targets.long())

    def decode(self, outputs: Any) -> np.ndarray:
        """Return class probabilities, float32 `[items, n_outputs]`: the softmax of the logits."""
        from scipy.special import softmax

        return softmax(as_float32(outputs), axis=-1)

    def confusion(self, predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Count items by reference (row) and most probable class (column): int64 `[n_outputs, n_outputs]`."""
        from sklearn.metrics import confusion_matrix

        predicted, targets = self._checked(predictions, references)
        return confusion_matrix(targets, predicted, labels=range(self.n_outputs))

    def _checked(self, predictions: Any, references: Any) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the most probable classes and of those of the references, `[items]` each."""
        predicted = checked_predictions(self, predictions).argmax(axis=1)
        return predicted, checked_numbers(self, references, len(predicted))
