"""Thresholds of a tagger, fitted at the end of a validation and kept in the checkpoints of the weights it validated.

A checkpoint has thresholds only if its weights are those of a validation: `best.ckpt` always, `last.ckpt` at the end of
an epoch with a validation. Where it holds an average of the weights, they are the average's, as readers prefer it.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback

from experiments.objectives import Evaluation
from experiments.tasks.base import Task
from experiments.training.averaging import RESTORED, Averaging
from models.descriptions import THRESHOLDS
from models.layouts import AVERAGED
from models.thresholds import Thresholds, fit_thresholds


def thresholds_of(task: Task, evaluation: Evaluation, split: str) -> Thresholds | None:
    """Fit the thresholds of a tagger; None for other tasks, and where a diverged training gives no numbers."""
    if task.kind != "tags" or not task.clip_level or evaluation.predictions is None:
        return None
    if not np.isfinite(evaluation.predictions).all():
        return None
    return fit_thresholds(evaluation.predictions, evaluation.references == 1, task.classes, split)


class FitThresholds(Callback):
    """Fits after every validation, and writes what belongs to a checkpoint's weights into it.

    Args:
        averaging: What validates an average beside the trained network.
    """

    def __init__(self, averaging: Averaging | None = None) -> None:
        self.averaging = averaging
        self._trained: Thresholds | None = None
        self._average: Thresholds | None = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fit those of the trained network, and those of the average where it was validated."""
        task = getattr(pl_module.objective, "task", None)
        if trainer.state.fn != "fit" or task is None:
            return
        found = {suffix: thresholds_of(task, one, "valid") for suffix, one in pl_module.evaluations.items()}
        self._trained = found.pop("")
        for thresholds in found.values():
            self._average = thresholds

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From now on the weights are others; an average says itself when it changes."""
        self._trained = None

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write them beside labels and task."""
        thresholds = self._trained
        if any(key.startswith(AVERAGED) for key in checkpoint["state_dict"]):
            thresholds = None if self.averaging is None or self.averaging.changed else self._average
        if thresholds:
            checkpoint[pl_module.CHECKPOINT_HYPER_PARAMS_KEY][THRESHOLDS] = thresholds.entry

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with those of an average, which may not change for some epochs."""
        entry = checkpoint.get(pl_module.CHECKPOINT_HYPER_PARAMS_KEY, {}).get(THRESHOLDS)
        if entry and checkpoint.get(RESTORED):
            self._average = Thresholds.of_entry(entry)
