"""Supervised learning: windows against what their tracks are annotated with (MAEST, arXiv 2309.16418, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.errors import UserError
from experiments.objectives.base import Batch, Evaluation, Kept, Objective
from experiments.tasks.base import Task
from models.augment import Mix, mixup
from models.network import Outputs, main_head


class Supervised(Objective):
    """The task's loss of the main head; whole tracks are evaluated by the task's metrics.

    Args:
        task: Loss, decoding, metrics.
        join: How the predictions of a track's windows become one, a key of `models.prediction.JOINS`; None: the
            usual way of the task.
    """

    def __init__(self, task: Task, join: str | None = None) -> None:
        super().__init__()
        self.task, self.join, self.panels = task, join or task.usual_join, task.panels

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """`losses` of what the network gives."""
        return self.losses(network(batch["x"]), batch)

    def losses(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Loss of the main head against the annotations, mixed as the windows were."""
        _check_steps(outputs, batch, self.task)
        target, mix = batch["target"], batch.get("mix")
        if mix is not None:
            target = mixup(self.task.smooth_labels(target), *mix)
        return {"loss": self.task.loss(main_head(outputs), target, **_mask(batch.get("mask"), mix))}

    def keep(self, network: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Outputs of the main head, and the targets."""
        return self.keep_outputs(network(batch["x"]), batch)

    def keep_outputs(self, outputs: Outputs, batch: Batch) -> dict[str, np.ndarray]:
        """See `keep`."""
        _check_steps(outputs, batch, self.task)
        given = {name: batch[name].cpu().numpy() for name in ("target", "mask") if name in batch}
        return {"outputs": main_head(outputs).float().cpu().numpy(), **given}

    def evaluate(self, kept: Kept, reference: Callable[[int], np.ndarray]) -> Evaluation:
        """The loss over all windows, and the task's metrics over tracks; without these where they cannot be had."""
        outputs, target = (torch.from_numpy(kept[name]) for name in ("outputs", "target"))
        mask = torch.from_numpy(kept["mask"]) if "mask" in kept else None
        scores = {"loss": float(self.task.loss(outputs, target, **_mask(mask, None)))}
        tracks, first, number = np.unique(kept["track"], return_index=True, return_inverse=True)
        decoded = np.asarray(self.task.decode(kept["outputs"]))
        predictions: Any = [
            self.task.join_outputs(
                kept["outputs"][rows],
                decoded[rows],
                kept["start"][rows] if "start" in kept else None,
                self.join,
                int(kept["rows"][rows[0]]) if "rows" in kept else None,
            )
            for rows in _rows_of(number, len(tracks))
        ]
        references: Any
        if self.task.clip_level:
            predictions, references = np.stack(predictions), kept["target"][first]
        else:
            references = [reference(int(track)) for track in tracks]
        try:
            metrics, problem = self.task.score(predictions, references), ""
        except UserError as error:  # too few tracks to score anything is no reason to lose the training
            metrics, problem = {}, str(error)
        scores |= {name: value for name, value in metrics.items() if not name.startswith("n_")}
        return Evaluation(scores, tracks, predictions, references, problem)


def _check_steps(outputs: Outputs, batch: Batch, task: Task) -> None:
    """Refuse outputs over time that are not one for each step of the windows.

    Raises:
        UserError: They are more or fewer.
    """
    if task.grid is None:
        return
    frames, shape = batch["x"].shape[1], list(main_head(outputs).shape)
    steps = task.grid.steps(frames)
    if len(shape) != 3 or shape[1] != steps:
        raise UserError(
            f"the network gives outputs of shape {shape} for windows of {frames} frames: over time, forward gives "
            f"[batch, steps, n_classes], steps being frames // pool, here {frames} // {task.grid.pool} = {steps}"
        )


def _rows_of(number: np.ndarray, tracks: int) -> list[np.ndarray]:
    """Rows of each track, in order."""
    return np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number, minlength=tracks))[:-1])


def _mask(mask: Tensor | None, mix: Mix | None) -> dict[str, Tensor]:
    """The argument of a loss whose targets are not known everywhere; of mixed ones, where both are known."""
    if mask is None:
        return {}
    return {"mask": mask if mix is None else torch.minimum(mask, mask[mix[0]])}
