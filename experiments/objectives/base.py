"""What every objective offers to the learner, the loader and the validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor, nn

Batch = Mapping[str, Any]
Kept = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Evaluation:
    """What a split was evaluated to.

    Attributes:
        scores: By name, to be logged; `loss` is among them.
        tracks: Their numbers, `[tracks]`.
        predictions: Of the tracks, `[tracks, ...]`, or a list of arrays where these differ in shape; None without a
            task.
        references: Likewise.
        problem: Why there are no metrics, where they cannot be had.
    """

    scores: Mapping[str, float]
    tracks: np.ndarray
    predictions: Any = None
    references: Any = None
    problem: str = ""


PER_WINDOW = ("track", "window", "start", "rows")  # what is kept of each besides; the last two in frames


class Objective(nn.Module):
    """Losses of a network on a batch, and the evaluation of a split.

    A module, so that it can have parameters of its own, a projection for instance: they are trained and saved with the
    network. An objective that only has losses overrides `loss` alone: validation gives their means, without metrics.

    Attributes:
        needs_labels: Whether tracks need annotations; without them, batches hold no `target`.
        panels: Scores that are drawn together, see `experiments.tasks.base.Task`.
        shown: Scores that the line of an epoch shows before others.
        views: Crops of a track that an example consists of. Several are stacked: `x [batch, views, frames, ...]`.
        whole_batches: Whether the last batch of an epoch is left out where it is smaller than the others.
        validated_augmented: Whether a validation augments as the training does, with the same draws every time.
        joint_batch_norm: Whether batch norm, where several GPUs train, has statistics of the batches of all of them.
    """

    needs_labels: bool = True
    views: int = 1
    whole_batches: bool = False
    validated_augmented: bool = False
    shown: Sequence[str] = ()
    joint_batch_norm: bool = False
    panels: Mapping[str, Sequence[str]] = MappingProxyType({})

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Losses by name: `loss` is minimised, the others are logged as `train/loss_NAME`.

        Args:
            network: To train, or a weight average of it.
            batch: `x`, normalised and augmented; `target`, `mask` and what else belongs to the examples; in training
                `mix`, partners and weights, where examples were mixed.
        """
        raise NotImplementedError

    def keep(self, network: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """What is kept of a batch until its split is complete: arrays with one row an example. Here, the losses."""
        return {
            name: np.full(len(batch["x"]), float(value), np.float64)
            for name, value in self.loss(network, batch).items()
        }

    def evaluate(self, kept: Kept, reference: Callable[[int], np.ndarray]) -> Evaluation:
        """Evaluate a split.

        Args:
            kept: What `keep` gave, joined, with `track` and `window` besides; every window once, in order.
            reference: The target of a whole track, by its number.

        Returns:
            Here, the mean of every loss.
        """
        names = [name for name in kept if name not in PER_WINDOW]
        scores = {name if name == "loss" else f"loss_{name}": float(kept[name].mean()) for name in names}
        return Evaluation(scores, np.unique(kept["track"]))
