"""The Lightning trainer of a run: devices, precision, callbacks, history for the pictures."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from experiments.launcher import layout
from experiments.networks.devices import on_cuda, precision
from experiments.settings import TrainerSettings
from experiments.tracking import RunHandle
from experiments.tracking.logger import LogBeforeSaving, RunLogger
from experiments.training.averaging import Averaging, MovingAverage, SnapshotAverage
from experiments.training.checkpointing import (
    BEST,
    LAST,
    AtomicCheckpoints,
    KeepBest,
    KeepEvery,
    SaveOften,
    StepSeeds,
)
from experiments.training.cluster import parallel
from experiments.training.curves import Groups, training_curves
from experiments.training.interruption import SaveWhenInterrupted
from experiments.training.monitoring import LOSS, mode_of
from experiments.training.phases import PhaseSwitch
from experiments.training.progress import EpochBar, EpochLine
from experiments.training.thresholds import FitThresholds
from experiments.training.throughput import NAMES, Series, Throughput, throughput_of

CHECKPOINTS = "checkpoints"
AS_LIGHTNING = (  # settings that are arguments of Lightning's trainer
    "accelerator",
    "gradient_clip_val",
    "accumulate_grad_batches",
    "check_val_every_n_epoch",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
)
IDLE_WARNINGS = (
    ".*LeafSpec.*",
    ".*smaller than the logging interval.*",
    ".*does not have many workers.*",
    ".*in eval mode at the start of training.*",  # what is frozen
    ".*dirpath has changed.*",  # `last.ckpt` of a continued run
    ".*exists and is not empty.*",  # the folder of a run that goes on
    ".*sync_dist=True.*",  # every rank has evaluated everything
    "Grad strides do not match.*",
)


class History(Series):
    """The metrics of a training and of its validations."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the metrics of a validation, and of the training until then."""
        self.note(trainer.global_step, trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note those of an epoch without a validation too."""
        own = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("train/")}
        self.note(trainer.global_step, own)

    def note(self, step: int, values: Mapping[str, torch.Tensor | float]) -> None:
        """Add a point to the curve of every value, or replace the one of that step."""
        for name, value in values.items():
            points = self.series.setdefault(name, [])
            if points and points[-1][0] == step:  # noted already, by a validation that was cut for instance
                points.pop()
            points.append((step, float(value)))


def processes(settings: TrainerSettings) -> int:
    """How many train side by side."""
    return math.prod(layout(settings.devices, settings.num_nodes))


def draw(trainer: L.Trainer, curves: History, run: RunHandle, groups: Groups) -> None:
    """Keep the pictures of a training: what it learned (`curves.png`) and how fast it ran (`throughput.png`).

    Args:
        trainer: Has trained.
        curves: What it learned.
        run: Gets the pictures.
        groups: Metrics that one panel shows, as `Task.panels` has them; those of weight averages come with them.
    """
    suffixes = ("", SnapshotAverage.suffix, MovingAverage.suffix)
    groups = {title: [name + end for name in names for end in suffixes] for title, names in groups.items()}
    speed = throughput_of(trainer)
    for name, series in (("curves.png", curves.series), ("throughput.png", speed.series if speed else {})):
        if run.is_global_zero and series:
            run.add_artifact(training_curves(series, run.directory / name, groups))


def quiet_lightning() -> None:
    """Leave out Lightning's messages that nobody can act on."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in IDLE_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def checkpoint_folder(settings: TrainerSettings, run_dir: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return Path(settings.checkpoint_dir).expanduser() if settings.checkpoint_dir else run_dir / CHECKPOINTS


def best_checkpoint(settings: TrainerSettings, run_dir: Path) -> Path:
    """Where a run keeps the weights that were best in validation."""
    return checkpoint_folder(settings, run_dir) / f"{BEST}.ckpt"


def make_trainer(
    settings: TrainerSettings,
    run: RunHandle,
    history: History,
    steps_per_epoch: int | None = None,
    averaging: Averaging | None = None,
    monitor: str = LOSS,
    max_epochs: int | None = None,
    joint_batch_norm: bool = False,
    watching: Sequence[Callback] = (),
) -> L.Trainer:
    """Make the trainer of a run.

    A step is one of the optimiser: `accumulate_grad_batches` batches, fewer at the end of an epoch. Steps are what the
    x axis of a metric and `log_every_n_steps` count; `train/loss` is that of the step's last batch. Short epochs are
    logged at least once each.

    Args:
        settings: Of the trainer.
        run: Where metrics and checkpoints go; its seed moves what is random in a step.
        history: Collects what is logged.
        steps_per_epoch: Where known.
        averaging: Of the weights, where wanted.
        monitor: The value of a validation that decides which epoch is best, and when training ends early.
        max_epochs: Of the training, where they are not those of the settings.
        joint_batch_norm: Whether batch norm has statistics of all GPUs; between CPUs there is none such.
        watching: Further callbacks, whose values are noted as those of a validation are.
    """
    quiet_lightning()
    terminal = os.isatty(2)
    log_every = min(settings.log_every_n_steps, steps_per_epoch or settings.log_every_n_steps)
    folder, best = checkpoint_folder(settings, run.directory), best_checkpoint(settings, run.directory)
    callbacks: list[Callback] = [StepSeeds(run.seed), LogBeforeSaving(run), PhaseSwitch(best)]
    callbacks += [*([averaging] if averaging else []), FitThresholds(averaging), *watching]
    callbacks += [history, Throughput(log_every)]
    if settings.early_stopping:
        mode, patience = mode_of(monitor), settings.early_stopping
        callbacks.append(
            EarlyStopping(monitor, mode=mode, patience=patience, strict=False, check_on_train_epoch_end=False)
        )
    if run.is_global_zero:
        callbacks.append(EpochBar() if terminal else EpochLine())
    return L.Trainer(
        **settings.model_dump(include=set(AS_LIGHTNING)),
        **parallel(settings.devices, settings.num_nodes),
        max_epochs=max_epochs or settings.max_epochs,
        precision=precision(settings),
        log_every_n_steps=log_every,
        sync_batchnorm=joint_batch_norm and on_cuda(settings),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=terminal,
        default_root_dir=run.directory,
        logger=RunLogger(run, beside=NAMES),
        plugins=[AtomicCheckpoints()],
        callbacks=[*callbacks, *_checkpoints(settings, run, folder, averaging, monitor)],
    )


def _checkpoints(
    settings: TrainerSettings, run: RunHandle, folder: Path, averaging: Averaging | None, monitor: str
) -> list[Callback]:
    """What writes checkpoints.

    `best.ckpt` (best in validation), `last.ckpt` (the newest epoch, within a long one the newest `checkpoint_minutes`),
    those that are kept (`epoch=1000.ckpt`), and of a single process `interrupted.ckpt` (where a signal came).
    """
    keep = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    minutes, steps, every = settings.checkpoint_minutes, settings.checkpoint_every_n_steps, settings.keep_every_n_epochs
    return [
        *([KeepEvery(folder, every, run.register_checkpoint)] if every else []),
        KeepBest(averaging, monitor, **keep),
        ModelCheckpoint(filename=LAST, save_on_train_epoch_end=True, **keep),
        SaveOften(folder / f"{LAST}.ckpt", minutes, steps, run.register_checkpoint),
        SaveWhenInterrupted(folder, run.register_checkpoint),
    ]
