"""Averages of a network's weights over training.

Two kinds, of which a training has at most one:

- *Snapshots* (`module.do_swa`, stochastic weight averaging, Izmailov et al., arXiv 1803.05407, as in PaSST and MAEST):
  the plain mean of the weights at the start of the epoch `swa_epoch_start - 1` and every `swa_freq` epochs from there.
- *Moving* (`module.ema_decay`): after every optimiser step `average = decay * average + (1 - decay) * weights`.

Neither touches the training: the learning rate and the trained weights are what they would be without it. There is no
copy of the network before there is something to average; from then on it sits where the network sits.

What is validated: the trained network at every validation, and the average at every validation before which it changed;
its metrics have a suffix (`val/loss_swa`, `val/loss_ema`). What is kept: `last.ckpt` and `interrupted.ckpt` hold both,
under `net.` and `net_swa.`. `best.ckpt` is the network that was best in validation, trained or average: if that is the
average, both are in the file, else the trained one alone. So whoever prefers the average where a file has one, as
everything here does (the test that ends a training, extraction, prediction, export), gets from `best.ckpt` the network
that was best, and from `last.ckpt` the average at the end, which is what the authors of MAEST published. Parameters of
a front end are not averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from experiments.settings import ModuleSettings
from models.layouts import AVERAGED, PLAIN

RESTORED = "restored_average"  # key under which `take_out` leaves the weights for the callback


def take_out(checkpoint: MutableMapping[str, Any], instead: bool = False) -> bool:
    """Take the average out of a checkpoint's `state_dict`, so that the rest is what a learner expects.

    Args:
        checkpoint: As Lightning loaded it; the average is left in it under a key of its own.
        instead: Put it in the place of the trained weights.

    Returns:
        Whether there was one.
    """
    state = checkpoint["state_dict"]
    average = {key.removeprefix(AVERAGED): state.pop(key) for key in [*state] if key.startswith(AVERAGED)}
    checkpoint[RESTORED] = average
    if instead:
        state.update({PLAIN + key: value for key, value in average.items()})
    return bool(average)


class Averaging(Callback):
    """Keeps, validates, saves and restores an average of a learner's network; see the subclasses for when it grows.

    Attributes:
        suffix: Of the metrics of the average.
        average: The averaged network; None before there is one.
        changed: Whether it changed since it was last validated.
        validated: Whether the validation that runs, or ran last, is of it too.
    """

    suffix = ""

    def __init__(self) -> None:
        self.average: AveragedModel | None = None
        self.changed = self.validated = self._without = False

    def make(self, network: nn.Module) -> AveragedModel:
        """A copy of the network that takes in others."""
        return AveragedModel(network)

    def include(self, learner: L.LightningModule) -> None:
        """Let the network as it is count."""
        if self.average is None:
            self.average = self._copy(learner)
        self.average.update_parameters(learner.net)
        self.changed = True

    def _copy(self, learner: L.LightningModule) -> AveragedModel:
        average = self.make(learner.net).eval().requires_grad_(False)
        average.n_averaged = average.n_averaged.cpu()  # is looked at in every update, for which no GPU should be waited
        return average

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.average is not None:
            self.average.module.to(pl_module.device)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Have the average validated too, if it changed."""
        self.validated = self.changed and trainer.state.fn == "fit"
        for name in [*trainer.callback_metrics]:
            if name.endswith(self.suffix):  # of another validation
                trainer.callback_metrics.pop(name)
        pl_module.averaged_networks = {self.suffix: self.average.module} if self.validated else {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.averaged_networks = {}
        self.changed = self.changed and not self.validated

    @contextmanager
    def without_average(self, whether: bool) -> Iterator[None]:
        """Checkpoints saved meanwhile hold the trained network alone."""
        self._without = whether
        try:
            yield
        finally:
            self._without = False

    def state_dict(self) -> dict[str, Any]:
        taken_in = int(self.average.n_averaged) if self.average is not None else 0
        return {"taken_in": taken_in, "changed": self.changed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.changed = state_dict["changed"]
        if self.average is not None:
            self.average.n_averaged.fill_(state_dict["taken_in"])

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the averaged weights beside the trained ones."""
        if self.average is not None and not self._without:
            averaged = self.average.module.state_dict()
            checkpoint["state_dict"].update({AVERAGED + key: value for key, value in averaged.items()})

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take over the averaged weights that `take_out` found."""
        average: dict[str, Tensor] = checkpoint.get(RESTORED, {})
        if trainer.state.fn == "fit" and average:
            self.average = self._copy(pl_module)
            self.average.module.load_state_dict(average)


class SnapshotAverage(Averaging):
    """The plain mean of snapshots at the start of the epochs `start - 1`, `start - 1 + every`, ...

    Args:
        start: The first snapshot is taken when so many epochs have begun.
        every: Epochs from one snapshot to the next.
    """

    suffix = "_swa"

    def __init__(self, start: int, every: int) -> None:
        super().__init__()
        self.start, self.every = start, every
        self.epochs: list[int] = []

    def due(self, epoch: int) -> bool:
        """Whether a snapshot is taken at the start of an epoch (counted from 0)."""
        past = epoch - (self.start - 1)
        return past >= 0 and past % self.every == 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.due(trainer.current_epoch):
            self.include(pl_module)
            self.epochs.append(trainer.current_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "epochs": list(self.epochs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.epochs = list(state_dict["epochs"])


class MovingAverage(Averaging):
    """An exponential moving average over optimiser steps.

    Args:
        decay: Share of the average that stays at each step.
    """

    suffix = "_ema"

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay, self._seen = decay, 0

    def make(self, network: nn.Module) -> AveragedModel:
        return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(self.decay))

    @torch.no_grad()
    def include(self, learner: L.LightningModule) -> None:
        """Let the network as it is count; a GPU is not waited for."""
        if self.average is None:
            super().include(learner)
            return
        self.average.multi_avg_fn([*self.average.module.parameters()], [*learner.net.parameters()], None)
        for kept, buffer in zip(self.average.module.buffers(), learner.net.buffers(), strict=True):
            kept.copy_(buffer)
        self.average.n_averaged += 1
        self.changed = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._seen = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > self._seen:
            self._seen = trainer.global_step
            self.include(pl_module)


def averaging(settings: ModuleSettings) -> Averaging | None:
    """What the settings ask for."""
    if settings.ema_decay is not None:
        return MovingAverage(settings.ema_decay)
    if settings.do_swa is False:
        return None
    return SnapshotAverage(settings.swa_epoch_start, settings.swa_freq)
