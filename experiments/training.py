"""The Lightning trainer of a run: precision, checkpoints that are never half written, history for the pictures."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from experiments.data import say
from experiments.errors import UserError
from experiments.settings import TrainerSettings
from experiments.throughput import Throughput
from experiments.tracking.logger import RunLogger
from experiments.tracking.run import RunHandle

CHECKPOINTS = "checkpoints"
BEST, LAST, INTERRUPTED = "best", "last", "interrupted"
IDLE_WARNINGS = (
    ".*LeafSpec.*",
    ".*smaller than the logging interval.*",
    ".*does not have many workers.*",
    ".*dirpath has changed.*",  # `last.ckpt` of a continued run
    ".*sync_dist=True.*",  # every rank has scored everything
    "Grad strides do not match.*",
)


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; reads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: Mapping[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save, so that the path holds either the old file or the whole new one."""
        path = Path(path)
        aside = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as handle:
                torch.save(checkpoint, handle)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(aside, path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError of its file writer
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise UserError(
                f"{path}: the checkpoint could not be written ({error}); "
                "is the disk full, or trainer.checkpoint_dir no folder of yours?"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Load without running anything the file may contain."""
        return torch.load(path, map_location=map_location, weights_only=True)


class KeepBest(ModelCheckpoint):
    """`best.ckpt` of the lowest `val/loss`; a training that is continued by another run knows the best of the first."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best checkpoint so far, copied into this run's folder; forget it where the file is gone."""
        best = Path(state_dict["best_model_path"])
        here = Path(self.dirpath) / best.name
        if not best.is_file():
            return
        if rank_zero_only.rank == 0 and best.resolve() != here.resolve():
            here.parent.mkdir(parents=True, exist_ok=True)
            aside = here.with_name(here.name + ".part")
            shutil.copyfile(best, aside)
            os.replace(aside, here)
        moved = {"dirpath": self.dirpath, "best_model_path": str(here), "kth_best_model_path": str(here)}
        super().load_state_dict({**state_dict, **moved, "best_k_models": {str(here): state_dict["best_model_score"]}})


class SaveWhenInterrupted(Callback):
    """Leaves `interrupted.ckpt` with the weights of the moment when training ends by a signal or an error.

    Not with several processes: the others may be gone, or wait in the middle of a step, and saving would wait for them.
    `last.ckpt` of the newest whole epoch is there.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{INTERRUPTED}.ckpt"

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save, once at least one step was taken, unless a checkpoint is what could not be written."""
        if isinstance(exception, UserError):
            return
        if trainer.state.fn == "fit" and trainer.global_step and trainer.world_size == 1:
            trainer.save_checkpoint(self.path)
            say(f"the weights of the moment are in {self.path}; give the same command with resume=True to go on")


class History(Callback):
    """What was logged, by name: `(step, value)` pairs, for the picture of the training; kept in its checkpoints."""

    def __init__(self) -> None:
        self.series: dict[str, list[tuple[int, float]]] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"series": {name: list(values) for name, values in self.series.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind what a checkpoint keeps."""
        self.series = {name: [tuple(pair) for pair in values] for name, values in state_dict["series"].items()}

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
        speed = next((callback.latest for callback in trainer.callbacks if isinstance(callback, Throughput)), {})
        metrics = sorted({**trainer.callback_metrics, **speed}.items())
        shown = "  ".join(f"{name} {float(value):.4g}" for name, value in metrics)
        say(f"epoch {done}/{total}  {shown}  ({spent:.0f} s, {left:.0f} s left)")


def quiet_lightning() -> None:
    """Leave out what Lightning says that nobody can act on."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in IDLE_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def checkpoint_folder(settings: TrainerSettings, run_dir: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return Path(settings.checkpoint_dir).expanduser() if settings.checkpoint_dir else run_dir / CHECKPOINTS


def check_accelerator(settings: TrainerSettings) -> None:
    """Refuse an accelerator that this machine does not have.

    Raises:
        UserError: There is no such device, or fewer than asked for.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(settings.accelerator, True):
        raise UserError(f"trainer.accelerator={settings.accelerator}: there is none here; set it to auto or cpu")
    on_cuda = settings.accelerator in ("auto", "cuda") and there["cuda"]
    if on_cuda and settings.devices > torch.cuda.device_count():
        raise UserError(f"trainer.devices={settings.devices}: there are {torch.cuda.device_count()} GPUs here")


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

    Checkpoints: `best.ckpt` (lowest `val/loss`), `last.ckpt` (the newest epoch), and of a single process
    `interrupted.ckpt` (where it was cut).
    """
    folder = checkpoint_folder(settings, run.directory)
    keep = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    callbacks: list[Callback] = [
        KeepBest(filename=BEST, monitor="val/loss", save_on_train_epoch_end=False, **keep),
        ModelCheckpoint(filename=LAST, save_on_train_epoch_end=True, **keep),
        SaveWhenInterrupted(folder),
        history,
        Throughput(min(settings.log_every_n_steps, steps_per_epoch or settings.log_every_n_steps)),
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
