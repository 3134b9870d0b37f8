"""What every training does between its preparation and its test."""

from __future__ import annotations

import math
from collections.abc import Sequence

import lightning as L
from lightning.pytorch.callbacks import Callback

from experiments.errors import UserError
from experiments.settings import ModuleSettings, TrainerSettings
from experiments.tracking import RunHandle
from experiments.training.averaging import MovingAverage, SnapshotAverage, averaging
from experiments.training.learner import Learner
from experiments.training.monitoring import LOSS, mode_of
from experiments.training.phases import total_epochs
from experiments.training.trainer import History, draw, make_trainer, processes
from models.attention import prefer


def fit(
    learner: Learner,
    data: L.LightningDataModule,
    settings: TrainerSettings,
    module: ModuleSettings,
    run: RunHandle,
    checkpoint: str | None = None,
    watching: Sequence[Callback] = (),
) -> tuple[L.Trainer, History, dict[str, float]]:
    """Train, and draw the curves.

    Args:
        learner: What is trained.
        data: Its batches, with `steps_per_epoch`.
        settings: How long and on what.
        module: Of them the weights that are averaged.
        run: Takes metrics and pictures.
        checkpoint: To go on from.
        watching: Further callbacks.

    Returns:
        The trainer, the curves, and `val/*` of the best epoch.

    Raises:
        UserError: The training diverged.
    """
    curves, steps = History(), data.steps_per_epoch(settings, processes(settings))
    epochs = total_epochs(learner.phases, settings.max_epochs)
    joint = learner.objective.joint_batch_norm
    average, monitor = averaging(module), learner.monitor
    trainer = make_trainer(settings, run, curves, steps, average, monitor, epochs, joint, watching)
    with prefer(settings.attention):
        trainer.fit(learner, data, ckpt_path=checkpoint, weights_only=True)
    draw(trainer, curves, run, learner.objective.panels)
    result = best_epoch(curves, learner.monitor)
    if not result:
        raise UserError(f"{learner.monitor} was never finite: the training diverged; lower module.optimizer.lr")
    return trainer, curves, result


def best_epoch(curves: History, monitor: str = LOSS) -> dict[str, float]:
    """What was logged at the step of the best checkpoint, of the trained network or of an average.

    Args:
        curves: Of the training.
        monitor: As in `make_trainer`.
    """
    kinds = [f"{monitor}{suffix}" for suffix in ("", SnapshotAverage.suffix, MovingAverage.suffix)]
    points = [point for kind in kinds for point in curves.series.get(kind, [])]
    sign = -1 if mode_of(monitor) == "max" else 1
    values = [(sign * value, step) for step, value in points if math.isfinite(value)]
    if not values:
        return {}
    _, best = min(values)
    then = {name: dict(series).get(best) for name, series in curves.series.items() if name.startswith("val/")}
    return {name: value for name, value in then.items() if value is not None}
