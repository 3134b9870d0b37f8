"""Checkpoints that are never half written: the best network, the newest state.

A training goes on from `last.ckpt` or `interrupted.ckpt` as if nothing had happened, in the middle of an epoch too:
what is random in a step follows from the run's seed, the epoch, the batch and the process alone, and the loader leaves
out what was trained on. On a CPU the weights at the end are equal bit by bit.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from experiments.errors import UserError
from experiments.tracking.logger import log_step
from experiments.training.averaging import Averaging
from experiments.training.monitoring import LOSS, missing, mode_of
from models.files import replaced
from models.layouts import load_pickled, write_pickled

BEST, LAST, INTERRUPTED = "best", "last", "interrupted"
ASKED_EVERY = 16  # optimiser steps after which several processes agree on whether it is time to save

Saved = Callable[[Path, int, int], None]  # takes the path, epoch and step of a checkpoint


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; reads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: Mapping[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save, so that the path holds either the old file or the whole new one."""
        try:
            write_pickled(Path(path), checkpoint)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError of its file writer
            raise UserError(
                f"{path}: the checkpoint could not be written ({error}); "
                "is the disk full, or trainer.checkpoint_dir no folder of yours?"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Load without running anything the file may contain."""
        return load_pickled(path, map_location)


class KeepBest(ModelCheckpoint):
    """`best.ckpt` of the best validation; a training that another run goes on with knows the best of the first.

    Args:
        averaging: What validates an average beside the trained network: the file is of the better of the two.
        monitor: The value of a validation that decides, see `experiments.training.monitoring`.
        keep: Of `ModelCheckpoint`.
    """

    def __init__(self, averaging: Averaging | None = None, monitor: str = LOSS, **keep: Any) -> None:
        super().__init__(filename=BEST, monitor=monitor, mode=mode_of(monitor), save_on_train_epoch_end=False, **keep)
        self.averaging = averaging

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, if this is the best so far.

        Raises:
            UserError: The validation does not give the value that decides.
        """
        if trainer.state.fn == "fit" and self.monitor not in trainer.callback_metrics:
            raise missing(self.monitor, list(trainer.callback_metrics))
        plain = not self._average_is_better(trainer)
        with self.averaging.without_average(plain) if self.averaging else contextlib.nullcontext():
            super().on_validation_end(trainer, pl_module)

    def _average_is_better(self, trainer: L.Trainer) -> bool:
        scores = trainer.callback_metrics
        averaged = scores.get(f"{self.monitor}{self.averaging.suffix}") if self.averaging else None
        if averaged is None or averaged.isnan():
            return False
        plain = scores[self.monitor]
        return bool(plain.isnan() or (averaged > plain if self.mode == "max" else averaged < plain))

    def _monitor_candidates(self, trainer: L.Trainer) -> dict[str, Tensor]:
        candidates = super()._monitor_candidates(trainer)
        if self._average_is_better(trainer):
            candidates[self.monitor] = candidates[f"{self.monitor}{self.averaging.suffix}"]
        return candidates

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best checkpoint so far, copied into this run's folder; forget it where the file is gone."""
        best = Path(state_dict["best_model_path"])
        here = Path(self.dirpath) / best.name
        if not best.is_file():
            return
        if rank_zero_only.rank == 0 and best.resolve() != here.resolve():
            here.parent.mkdir(parents=True, exist_ok=True)
            with replaced(here) as aside:
                shutil.copyfile(best, aside)
        moved = {"dirpath": self.dirpath, "best_model_path": str(here), "kth_best_model_path": str(here)}
        super().load_state_dict({**state_dict, **moved, "best_k_models": {str(here): state_dict["best_model_score"]}})


class KeepEvery(Checkpoint):
    """Checkpoints of every so many epochs, counted from 1 (`epoch=1000.ckpt`); no other one takes their places.

    Args:
        folder: Of the files.
        every: Epochs.
        saved: Called where a file was saved.
    """

    def __init__(self, folder: Path, every: int, saved: Saved | None = None) -> None:
        self.folder, self.every, self.saved = folder, every, saved

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep a checkpoint, where it is time."""
        done = trainer.current_epoch + 1
        if done % self.every:
            return
        path = self.folder / f"epoch={done}.ckpt"
        trainer.save_checkpoint(path)
        if self.saved and trainer.is_global_zero:
            self.saved(path, trainer.current_epoch, trainer.global_step)


def step_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Seed of what is random in one training step of one process."""
    return int(np.random.SeedSequence((seed, epoch, batch, rank)).generate_state(1, np.uint64)[0])


class StepSeeds(Callback):
    """Makes what is random in a training step (patchout, augmentations, dropout) a function of where the step is.

    Args:
        seed: Of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        torch.manual_seed(step_seed(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank))


def stepped(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether the optimiser makes its step after this batch, rather than gather more gradients."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or last_batch(trainer, batch_idx)


def last_batch(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether the epoch has no batch after this one."""
    return batch_idx + 1 >= trainer.num_training_batches


def validation_follows(trainer: L.Trainer) -> bool:
    """Whether the epoch that is trained ends with a validation."""
    every = trainer.check_val_every_n_epoch
    return bool(trainer.enable_validation and (every is None or (trainer.current_epoch + 1) % every == 0))


class SaveOften(Checkpoint):
    """Replaces `last.ckpt` in the middle of epochs, always after a whole optimiser step.

    Args:
        path: Of the file, which other callbacks may write too.
        minutes: Between two checkpoints; None: never for the time.
        steps: Optimiser steps between two checkpoints; None: never for the number.
        saved: Called where a file was saved.
    """

    def __init__(self, path: Path, minutes: float | None, steps: int | None = None, saved: Saved | None = None) -> None:
        self.path, self.minutes, self.steps, self.saved = path, minutes, steps, saved
        self._since = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = time.monotonic()

    on_train_epoch_end = on_train_start  # every epoch ends with a checkpoint

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, where it is time; not at the end of an epoch, which has a checkpoint of its own."""
        if last_batch(trainer, batch_idx) or not stepped(trainer, batch_idx) or not self._due(trainer):
            return
        log_step(trainer)
        trainer.save_checkpoint(self.path)
        self._since = time.monotonic()
        if self.saved and trainer.is_global_zero:
            self.saved(self.path, trainer.current_epoch, trainer.global_step)

    def _due(self, trainer: L.Trainer) -> bool:
        if self.steps and trainer.global_step % self.steps == 0:
            return True
        if self.minutes is None or (trainer.world_size > 1 and trainer.global_step % ASKED_EVERY):
            return False
        due = time.monotonic() - self._since >= 60 * self.minutes
        return trainer.strategy.broadcast(due) if trainer.world_size > 1 else due
