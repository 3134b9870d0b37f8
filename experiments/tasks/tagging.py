"""Tagging: any number of tags per recording.

Metrics are macro averages over the tags that can be scored, i.e. that some item has and some item has not.
A tag without a positive has no ROC curve and no recall: it is left out, and `n_scorable` says how many remained.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.tag_categories import tag_categories
from experiments.errors import UserError
from experiments.tasks.base import Task, unknown
from experiments.tasks.checks import as_array, as_float32, checked_classes, checked_predictions
from models.metrics import (
    resampled_average_precision,
    resampled_macro,
    resampled_roc_auc,
    roc_auc,
    roc_auc_of_many,
)

if TYPE_CHECKING:
    from torch import Tensor


class Tagging(Task):
    """Multi-label classification with independent tags.

    Args:
        classes: The tags, in the order of the outputs.
    """

    name = "tagging"
    annotations = ("tags",)
    kind = "tags"
    primary = "roc_auc"
    monitor = "ap"  # of many rare tags it separates networks better than the ROC-AUC

    def __init__(self, classes: Sequence[str]):
        self.classes = checked_classes(self.name, classes, at_least=1)
        self.options = {"classes": list(self.classes)}
        self._column = {tag: column for column, tag in enumerate(self.classes)}

    def encode(self, annotation: Iterable[str]) -> np.ndarray:
        """Return the multi-hot float32 target `[n_outputs]` of a set of tags, which may be empty.

        Raises:
            UserError: A tag that is not among the classes, or a bare string in place of a collection of tags.
        """
        if annotation is None or isinstance(annotation, str):
            raise UserError(f"tagging: {annotation!r} is no collection of tags; give a list such as ['piano', 'slow']")
        target = np.zeros(self.n_outputs, dtype=np.float32)
        for tag in annotation:
            if tag not in self._column:
                raise unknown("tag", tag, self.classes)
            target[self._column[tag]] = 1.0
        return target

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy with logits, mean over items and tags.

        Args:
            outputs: Logits `[items, n_outputs]`.
            targets: `[items, n_outputs]` in 0..1; soft values, as mixup gives, are welcome.
        """
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(outputs.float(), targets.float())

    def loss_slope(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The derivative of `loss` by the outputs of every network by itself.

        Args:
            outputs: Logits of several networks, `[..., items, n_outputs]`.
            targets: As of `loss`.
        """
        return outputs.sigmoid().sub_(targets).mul_(1 / targets.numel())

    def decode(self, outputs: Any) -> np.ndarray:
        """Return the probability of every tag, float32 `[items, n_outputs]`: the sigmoid of the logits."""
        from scipy.special import expit

        return expit(as_float32(outputs))

    def score(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Macro ROC-AUC and average precision over the scorable tags.

        Args:
            predictions: Probabilities `[items, n_outputs]`.
            references: Multi-hot targets `[items, n_outputs]`.

        Returns:
            `roc_auc`, `ap`, `n_scorable` (tags with both positives and negatives), `n_items`.

        Raises:
            UserError: No tag can be scored, or shapes and values are not as above.
        """
        from sklearn.metrics import average_precision_score, roc_auc_score

        scores, positives, scorable = self._checked(predictions, references)
        scores, positives = scores[:, scorable], positives[:, scorable]
        columns = range(scores.shape[1])
        return {
            "roc_auc": float(np.mean([roc_auc_score(positives[:, c], scores[:, c]) for c in columns])),
            "ap": float(np.mean([average_precision_score(positives[:, c], scores[:, c]) for c in columns])),
            "n_scorable": float(len(columns)),
            "n_items": float(len(scores)),
        }

    def score_further(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Micro averages over the scorable tags, `roc_auc_micro` and `ap_micro`, and macro AP of tag categories.

        Categories are known for the tags of MagnaTagATune and MTG-Jamendo: `ap_genre`, `ap_instrument`, ...; one
        without a scorable tag is left out.
        """
        from sklearn.metrics import average_precision_score, roc_auc_score

        scores, positives, scorable = self._checked(predictions, references)
        flat, wanted = scores[:, scorable].ravel(), positives[:, scorable].ravel()
        result = {
            "roc_auc_micro": float(roc_auc_score(wanted, flat)),
            "ap_micro": float(average_precision_score(wanted, flat)),
        }
        for category, columns in tag_categories(self.classes).items():
            if known := [c for c in columns if scorable[c]]:
                values = [average_precision_score(positives[:, c], scores[:, c]) for c in known]
                result[f"ap_{category}"] = float(np.mean(values))
        return result

    def unscorable(self, references: np.ndarray) -> dict[str, int]:
        """Tags that all items have or none has, with the number of items that have them."""
        positives = as_array(references) == 1
        counts = positives.sum(axis=0)
        return {self.classes[c]: int(counts[c]) for c in np.flatnonzero((counts == 0) | (counts == len(positives)))}

    def score_per_class(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, dict[str, float]]:
        """Return `roc_auc`, `ap` and `n_positive` of every scorable tag."""
        from sklearn.metrics import average_precision_score, roc_auc_score

        scores, positives, scorable = self._checked(predictions, references)
        return {
            self.classes[c]: {
                "roc_auc": float(roc_auc_score(positives[:, c], scores[:, c])),
                "ap": float(average_precision_score(positives[:, c], scores[:, c])),
                "n_positive": float(positives[:, c].sum()),
            }
            for c in np.flatnonzero(scorable)
        }

    def primary_score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """Macro ROC-AUC from average ranks: the value of `score`, without a call per tag."""
        scores, positives, scorable = self._checked(predictions, references)
        return float(roc_auc(scores[:, scorable], positives[:, scorable]).mean())

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once: outputs `[systems, items, n_outputs]` to float64 `[systems]`."""
        positives = references == 1
        scorable = positives.any(0) & ~positives.all(0)
        if not scorable.all():
            outputs, positives = outputs[..., scorable], positives[:, scorable]
        return roc_auc_of_many(outputs.float().sigmoid(), positives).mean(-1)

    def score_resampled(
        self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray
    ) -> dict[str, np.ndarray]:
        """`roc_auc` and `ap` under weightings of the items, `[resamples]` each; NaN where no tag can be scored."""
        scores, positives, _ = self._checked(predictions, references)
        return {
            "roc_auc": resampled_macro(resampled_roc_auc, scores, positives, weights),
            "ap": resampled_macro(resampled_average_precision, scores, positives, weights),
        }

    def score_per_class_resampled(
        self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray
    ) -> dict[tuple[str, str], np.ndarray]:
        """`roc_auc` and `ap` of every scorable tag under weightings of the items."""
        scores, positives, scorable = self._checked(predictions, references)
        metrics = {"roc_auc": resampled_roc_auc, "ap": resampled_average_precision}
        return {
            (self.classes[c], name): metric(scores[:, c], positives[:, c], weights)
            for c in np.flatnonzero(scorable)
            for name, metric in metrics.items()
        }

    def primary_resampled(self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """`roc_auc` of `score_resampled` alone, in half the time."""
        scores, positives, _ = self._checked(predictions, references)
        return resampled_macro(resampled_roc_auc, scores, positives, weights)

    def _checked(self, predictions: Any, references: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scores = checked_predictions(self, predictions)
        targets = as_array(references)
        if targets.shape != scores.shape:
            raise UserError(
                f"tagging: references of shape {list(targets.shape)} for predictions of shape {list(scores.shape)}"
            )
        positives = targets == 1
        if not (positives | (targets == 0)).all():
            raise UserError("tagging: references hold values other than 0 and 1; score against the original tags")
        scorable = positives.any(axis=0) & ~positives.all(axis=0)
        if not scorable.any():
            raise UserError(
                f"tagging: none of the {self.n_outputs} tags can be scored on {len(scores)} items: "
                "each is on all of them or on none; use a larger split"
            )
        return scores, positives, scorable
