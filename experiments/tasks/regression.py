"""What tasks about values share: standardised targets and squared error."""

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
