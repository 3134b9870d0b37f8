"""The Lightning trainer of a run: precision, checkpoints that are never half written, history for the pictures."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO

from experiments.data import say
from experiments.errors import UserError
from experiments.settings import TrainerSettings
from experiments.tracking.logger import RunLogger
from experiments.tracking.run import RunHandle

CHECKPOINTS = "checkpoints"
BEST, LAST, INTERRUPTED = "best", "last", "interrupted"


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; reads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: Mapping[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save, so that the path holds either the old file or the whole new one."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name + ".part")
        try:
            with aside.open("wb") as handle:
                torch.save(checkpoint, handle)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(aside, path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError of its file writer
            aside.unlink(missing_ok=True)
            raise UserError(f"{path}: the checkpoint could not be written ({error}); is the disk full?") from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Load without running anything the file may contain."""
        return torch.load(path, map_location=map_location, weights_only=True)


class SaveWhenInterrupted(Callback):
    """Leaves `interrupted.ckpt` with the weights of the moment when training ends by a signal or an error."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{INTERRUPTED}.ckpt"

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save, once at least one step was taken."""
        if trainer.state.fn == "fit" and trainer.global_step:
            trainer.save_checkpoint(self.path)


class History(Callback):
    """What was logged, by name: `(step, value)` pairs, for the picture of the training."""

    def __init__(self) -> None:
        self.series: dict[str, list[tuple[int, float]]] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the metrics of an epoch."""
        for name, value in trainer.callback_metrics.items():
            self.series.setdefault(name, []).append((trainer.global_step, float(value)))


class EpochLine(Callback):
    """One line an epoch, where there is no terminal for a progress bar."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember when and where training began."""
        self.began, self.first_epoch = time.monotonic(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say what was logged and how long the rest will take."""
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        spent = time.monotonic() - self.began
        left = spent / (done - self.first_epoch) * (total - done)
        shown = "  ".join(f"{name} {float(value):.4g}" for name, value in sorted(trainer.callback_metrics.items()))
        say(f"epoch {done}/{total}  {shown}  ({spent:.0f} s, {left:.0f} s left)")


def quiet_lightning() -> None:
    """Leave out what Lightning says that nobody can act on."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (".*LeafSpec.*", ".*smaller than the logging interval.*", ".*does not have many workers.*"):
        warnings.filterwarnings("ignore", message=message)


def checkpoint_folder(settings: TrainerSettings, run: RunHandle) -> Path:
    """Where a run keeps its checkpoints."""
    return Path(settings.checkpoint_dir).expanduser() if settings.checkpoint_dir else run.directory / CHECKPOINTS


def precision(settings: TrainerSettings) -> str:
    """The setting, or bf16 where there is CUDA and float32 elsewhere."""
    if settings.precision != "auto":
        return settings.precision
    cuda = settings.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if cuda else "32-true"


def make_trainer(
    settings: TrainerSettings, run: RunHandle, history: History, steps_per_epoch: int | None = None
) -> L.Trainer:
    """Make the trainer of a run.

    Short epochs are logged at least once each.

    Checkpoints: `best.ckpt` (lowest `val/loss`), `last.ckpt` (the newest epoch), `interrupted.ckpt` (where it was cut).
    """
    folder = checkpoint_folder(settings, run)
    keep = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    callbacks: list[Callback] = [
        ModelCheckpoint(filename=BEST, monitor="val/loss", save_on_train_epoch_end=False, **keep),
        ModelCheckpoint(filename=LAST, save_on_train_epoch_end=True, **keep),
        SaveWhenInterrupted(folder),
        history,
    ]
    quiet_lightning()
    terminal = os.isatty(2)
    if run.is_global_zero:
        callbacks.append(RichProgressBar() if terminal else EpochLine())
    return L.Trainer(
        max_epochs=settings.max_epochs,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy="ddp" if settings.devices * settings.num_nodes > 1 else "auto",
        precision=precision(settings),
        check_val_every_n_epoch=settings.check_val_every_n_epoch,
        limit_train_batches=settings.limit_train_batches,
        limit_val_batches=settings.limit_val_batches,
        limit_test_batches=settings.limit_test_batches,
        log_every_n_steps=min(settings.log_every_n_steps, steps_per_epoch or settings.log_every_n_steps),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=terminal,
        default_root_dir=run.directory,
        logger=RunLogger(run),
        plugins=[AtomicCheckpoints()],
        callbacks=callbacks,
    )
