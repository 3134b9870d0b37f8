"""A training in phases, each with an optimiser of its own, as in the recipe of Won et al. (arXiv 2006.00751).

A phase ends after its epochs; the next begins with the weights as they are or with those of the best checkpoint, and
with a new optimiser and schedule. A checkpoint says which phase it is of, so a training that goes on does so in that
phase, with the state of its optimiser.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from experiments.errors import UserError
from experiments.messages import say
from experiments.settings import ModuleSettings, OptimizerSettings
from experiments.training.averaging import take_out
from models.files import replaced
from models.layouts import load_pickled

PHASE = "phase"  # key of a checkpoint: number of the phase, from 0


@dataclass(frozen=True)
class Phase:
    """A part of a training.

    Attributes:
        optimizer: Optimiser and schedule.
        epochs: Its length; None: to the end of the training.
        from_best: Whether it begins with the best checkpoint so far.
    """

    optimizer: OptimizerSettings
    epochs: int | None = None
    from_best: bool = False


def phases(module: ModuleSettings) -> tuple[Phase, ...]:
    """The phases of the settings; without any, one with `module.optimizer` for the whole training."""
    if not module.phases:
        return (Phase(module.optimizer),)
    return tuple(Phase(one.over(module.optimizer), one.epochs, one.start_from == "best") for one in module.phases)


def starts(chosen: Sequence[Phase]) -> list[int]:
    """First epoch of each phase, from 0."""
    return [0, *accumulate(phase.epochs or 0 for phase in chosen)][: len(chosen)]


def total_epochs(chosen: Sequence[Phase], max_epochs: int) -> int:
    """Epochs of a training: those of the phases, at most `max_epochs`; says where a phase is cut off."""
    if chosen[-1].epochs is None:
        return max_epochs
    total = sum(phase.epochs or 0 for phase in chosen)
    if total > max_epochs:
        last = sum(start < max_epochs for start in starts(chosen))
        say(
            f"module.phases have {total} epochs, trainer.max_epochs={max_epochs} ends the training in phase {last} of "
            f"{len(chosen)}"
        )
    return min(total, max_epochs)


class PhaseSwitch(Callback):
    """Gives the learner the optimiser of each phase when it begins, and moves the rate of a plateau.

    Args:
        best: The best checkpoint.
    """

    def __init__(self, best: Path) -> None:
        self.best = best

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin a phase, where it is time."""
        self._remove_start(trainer, pl_module)
        due = sum(start <= trainer.current_epoch for start in starts(pl_module.phases)) - 1
        if due == pl_module.phase:
            return
        pl_module.phase, phase = due, pl_module.phases[due]
        if phase.from_best:
            self._load_best(trainer, pl_module)
        trainer.strategy.setup_optimizers(trainer)
        for callback in trainer.callbacks:
            if isinstance(callback, EarlyStopping):
                callback.wait_count = 0
        say(
            f"phase {due + 1} of {len(pl_module.phases)}: {phase.optimizer.kind}, lr {phase.optimizer.lr:g}"
            + (f", from the best checkpoint {self.best}" if phase.from_best else "")
        )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._remove_start(trainer, pl_module)

    def _start(self, learner: L.LightningModule) -> Path:
        """Where the weights are kept that the learner's phase began with."""
        return self.best.with_name(f"phase_{learner.phase + 1}.ckpt")

    def _remove_start(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """By now there is a checkpoint of the phase."""
        if trainer.is_global_zero:
            self._start(learner).unlink(missing_ok=True)

    def _load_best(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """Load the best weights, a copy of which stays until a checkpoint of the phase is written.

        A training that is killed before would find a best checkpoint of the new phase when it goes on.
        """
        kept = self._start(learner)
        if not self.best.is_file() and not kept.is_file():
            raise UserError(
                f"module.phases: phase {learner.phase + 1} starts from the best checkpoint, and no epoch before it was "
                "validated: lower trainer.check_val_every_n_epoch"
            )
        if trainer.is_global_zero and (not kept.is_file() or _step(self.best) <= trainer.global_step):
            with replaced(kept) as aside:
                shutil.copyfile(self.best, aside)
        trainer.strategy.barrier()
        content = load_pickled(kept)
        take_out(content, instead=True)
        learner.load_state_dict(content["state_dict"])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lower the rate, where a plateau was reached; before a checkpoint of the epoch is written."""
        for config in trainer.lr_scheduler_configs if trainer.state.fn == "fit" else ():
            if isinstance(config.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
                value = trainer.callback_metrics.get(pl_module.monitor)
                if value is not None:
                    config.scheduler.step(float(value))


def _step(checkpoint: Path) -> int:
    return int(load_pickled(checkpoint, mmap=True)["global_step"])
