"""Emotion: arousal and valence of a recording, as listeners rate them on a scale.

Targets, predictions and scores are in the unit of the annotations; a network's outputs are standardised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.errors import UserError
from experiments.tasks.checks import as_float32, as_number, checked_predictions, checked_values, finite_number
from experiments.tasks.regression import Regression, constants
from models.metrics import correlation, r2, r2_of_many, resampled_r2

if TYPE_CHECKING:
    from torch import Tensor


SCALES = ((-1.0, 1.0), (0.0, 10.0), (-10.0, 10.0), (0.0, 100.0), (-100.0, 100.0))  # or within, as 1 to 9
MOST = 0.9  # share of the values that must lie on a scale


def scale_of(values: np.ndarray) -> tuple[float, float] | None:
    """The narrowest scale that most values are on; None where there is none."""
    return next((one for one in SCALES if ((values >= one[0]) & (values <= one[1])).mean() >= MOST), None)


class Emotion(Regression):
    """Regression of arousal and valence, in this order."""

    name = "emotion"
    annotations = ("arousal", "valence")
    primary = "r2"
    classes = ("arousal", "valence")

    @classmethod
    def measured(cls, annotations: Sequence[tuple[float, float]]) -> dict[str, list[float]]:
        """Mean and population deviation of annotated pairs, as the constructor takes them."""
        values = np.array([[as_number(value) for value in pair] for pair in annotations], dtype=np.float64)
        return constants(values.reshape(-1, len(cls.classes)))

    @classmethod
    def implausible(cls, annotations: Sequence[tuple[float, float]]) -> dict[str, list[int]]:
        """Values far from the scale that the others are on, and two scales."""
        values = np.array(annotations, dtype=np.float64).reshape(-1, len(cls.classes))
        findings, scales = {}, {}
        for name, column in zip(cls.classes, values.T, strict=True):
            if not len(column) or (scale := scale_of(column)) is None:
                continue
            low, high = scales[name] = scale
            beside = (high - low) / 2  # some people mark a little more than a scale has
            far = np.flatnonzero((column < low - beside) | (column > high + beside)).tolist()
            if far:
                findings[f"{name} far from {low:g} to {high:g}, where the others have it"] = far
        if len(set(scales.values())) > 1:
            on = " and ".join(f"{name} on a scale of {low:g} to {high:g}" for name, (low, high) in scales.items())
            findings[on] = list(range(len(values)))
        return findings

    def encode(self, annotation: tuple[float, float]) -> np.ndarray:
        """Return arousal and valence as they were annotated, float32 `[2]`.

        Raises:
            UserError: They are not two numbers.
        """
        if isinstance(annotation, str) or not isinstance(annotation, Sequence | np.ndarray) or len(annotation) != 2:
            raise UserError(f"emotion: {annotation!r} is no pair of arousal and valence")
        return np.array([finite_number("emotion", value) for value in annotation], dtype=np.float32)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Squared error of standardised values, mean over items and both.

        Args:
            outputs: Standardised, `[items, 2]`.
            targets: As annotated, `[items, 2]`; mixed ones are welcome.
        """
        return self.squared_error(outputs, targets)

    def decode(self, outputs: Any) -> np.ndarray:
        """Return arousal and valence in the unit of the annotations, float32 `[items, 2]`."""
        return as_float32(outputs) * self.scale + self.mean

    def score(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Coefficients of determination.

        Args:
            predictions: `[items, 2]`.
            references: `[items, 2]`.

        Returns:
            `r2` (mean of the two), `r2_arousal`, `r2_valence`, `n_items`.

        Raises:
            UserError: Fewer than two items, or shapes and values are not as above.
        """
        from sklearn.metrics import r2_score

        values, targets = self._checked(predictions, references)
        of_each = r2_score(targets, values, multioutput="raw_values")
        return {
            "r2": float(np.mean(of_each)),
            **{f"r2_{name}": float(value) for name, value in zip(self.classes, of_each, strict=True)},
            "n_items": float(len(targets)),
        }

    def score_per_class(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, dict[str, float]]:
        """Return `r2`, `rmse` (in the unit of the annotations) and Pearson's `correlation` of both; 0 for none."""
        from sklearn.metrics import root_mean_squared_error

        values, targets = self._checked(predictions, references)
        columns = (
            r2(values, targets),
            root_mean_squared_error(targets, values, multioutput="raw_values"),
            correlation(values, targets),
        )
        return {
            name: dict(zip(("r2", "rmse", "correlation"), map(float, row), strict=True))
            for name, row in zip(self.classes, zip(*columns, strict=True), strict=True)
        }

    def strata(self, targets: np.ndarray) -> list[str]:
        """The quadrant of every pair, `[items, 2]`, around the mean."""
        above = np.asarray(targets) > self.mean
        return [
            ", ".join(f"{'high' if high else 'low'} {name}" for name, high in zip(self.classes, row, strict=True))
            for row in above.tolist()
        ]

    def primary_score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """The mean of the two coefficients of determination alone."""
        return float(r2(*self._checked(predictions, references)).mean())

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once: outputs `[systems, items, 2]` to float64 `[systems]`."""
        return r2_of_many(self.values(outputs), references).mean(-1)

    def score_resampled(
        self, predictions: np.ndarray, references: np.ndarray, weights: np.ndarray
    ) -> dict[str, np.ndarray]:
        """`r2`, `r2_arousal` and `r2_valence` under weightings of the items, `[resamples]` each."""
        values = resampled_r2(*self._checked(predictions, references), weights)
        return {"r2": values.mean(axis=1), **{f"r2_{name}": values[:, at] for at, name in enumerate(self.classes)}}

    def _checked(self, predictions: Any, references: Any) -> tuple[np.ndarray, np.ndarray]:
        values = checked_predictions(self, predictions).astype(np.float64)
        targets = checked_values(self, references, values.shape)
        if len(values) < 2:
            raise UserError(f"{self.name}: R² of {len(values)} item is not defined; use a larger split")
        return values, targets
