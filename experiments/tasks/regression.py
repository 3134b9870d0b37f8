"""What tasks about values share: standardised targets, squared error, and R² of many systems or resamples at once.

R² is 1 - sum (y - prediction)² / sum (y - mean of y)², as scikit-learn has it: where all references of an output are
equal, 1 for exact predictions and 0 for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.errors import UserError
from experiments.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor


class Regression(Task):
    """Prediction of values; a network's outputs are standardised.

    Args:
        mean: Of the annotated values (`measured`), `[n_outputs]`.
        scale: What one unit of an output means: their population deviations.

    Raises:
        UserError: Another number of them, not finite, or a scale that is not above zero.
    """

    kind = "values"

    def __init__(self, mean: Sequence[float], scale: Sequence[float]) -> None:
        self.mean, self.scale = np.asarray(mean, dtype=np.float32), np.asarray(scale, dtype=np.float32)
        fits = all(one.shape == (self.n_outputs,) and np.isfinite(one).all() for one in (self.mean, self.scale))
        if not fits or not (self.scale > 0).all():
            raise UserError(
                f"{self.name}: mean={mean} and scale={scale}: expected {self.n_outputs} finite numbers each, "
                f"the scale above zero"
            )
        self.options = {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    def squared_error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over items and outputs of the squared error of standardised values, both `[items, n_outputs]`."""
        import torch

        mean, scale = self._constants(outputs)
        return torch.nn.functional.mse_loss(outputs.float(), (targets.float() - mean) / scale)

    def values(self, outputs: Tensor) -> Tensor:
        """What standardised outputs `[..., n_outputs]` mean, float32 on their device."""
        mean, scale = self._constants(outputs)
        return outputs.float() * scale + mean

    def _constants(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        mean, scale = (torch.from_numpy(one).to(outputs.device) for one in (self.mean, self.scale))
        return mean, scale


def constants(values: np.ndarray) -> dict[str, list[float]]:
    """Mean and population deviation of annotated values `[items, outputs]`; a constant output has deviation 1.

    Values that are not finite are passed over.
    """
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        return {"mean": [0.0] * values.shape[1], "scale": [1.0] * values.shape[1]}
    constant = np.ptp(values, axis=0) == 0
    mean, scale = np.where(constant, values[0], values.mean(axis=0)), np.where(constant, 1.0, values.std(axis=0))
    return {"mean": mean.tolist(), "scale": scale.tolist()}


def r2(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """R² of every output, `[items, outputs]` twice to float64 `[outputs]`."""
    rest = ((targets - values) ** 2).sum(axis=0)
    spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    return _share(rest, np.where(np.ptp(targets, axis=0) == 0, 0.0, spread))


def r2_of_many(values: Tensor, targets: Tensor) -> Tensor:
    """R² of every output of many systems, on their device.

    Args:
        values: `[systems, items, outputs]`.
        targets: `[items, outputs]`.

    Returns:
        float64 `[systems, outputs]`, sums in double.
    """
    import torch

    targets = targets.double()
    rest = ((targets - values.double()) ** 2).sum(-2)
    spread = ((targets - targets.mean(0)) ** 2).sum(0)
    spread = torch.where(targets.amax(0) == targets.amin(0), 0.0, spread)
    known = 1 - rest / torch.where(spread == 0, 1.0, spread)
    return torch.where(spread == 0, (rest == 0).double(), known)


def resampled_r2(values: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R² of every output under many weightings of the items: weights `[resamples, items]` to `[resamples, outputs]`."""
    drawn = np.asarray(weights, dtype=np.float64)
    centred = targets - targets.mean(axis=0)
    total = drawn.sum(axis=1, keepdims=True)
    spread = drawn @ centred**2 - (drawn @ centred) ** 2 / total
    held = (drawn > 0)[:, :, None]
    highest = np.where(held, targets, -np.inf).max(axis=1)
    lowest = np.where(held, targets, np.inf).min(axis=1)
    return _share(drawn @ (targets - values) ** 2, np.where(highest == lowest, 0.0, spread))


def _share(rest: np.ndarray, spread: np.ndarray) -> np.ndarray:
    explained = 1 - np.divide(rest, spread, out=np.zeros_like(rest), where=spread > 0)
    return np.where(spread > 0, explained, (rest == 0).astype(np.float64))


def correlation(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Pearson's correlation of every output, `[items, outputs]` twice to `[outputs]`; 0 where one side is constant."""
    one, other = (side - side.mean(axis=0) for side in (values, targets))
    size = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    flat = (np.ptp(values, axis=0) == 0) | (np.ptp(targets, axis=0) == 0)
    return np.where(flat, 0.0, np.divide((one * other).sum(axis=0), size, out=np.zeros_like(size), where=size > 0))
