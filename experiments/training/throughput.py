"""How fast training runs: clips a second, the share of time between steps, and of what the GPU can do at most."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from experiments.training.checkpointing import stepped
from models.peaks import all_trained, peak_bf16, training_flops

NAMES = ("train/clips_per_second", "train/data_wait", "train/mfu")
WARM_UP = 2  # batches of a training that are not counted: compilation, first allocations


class Series(Callback):
    """What is logged, by name: `(step, value)` pairs, for a picture of the training; kept in its checkpoints."""

    def __init__(self) -> None:
        self.series: dict[str, list[tuple[int, float]]] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"series": {name: list(values) for name, values in self.series.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.series = {name: [tuple(pair) for pair in values] for name, values in state_dict["series"].items()}


class Throughput(Series):
    """Measures `train/clips_per_second`, `train/data_wait` and, on a GPU that `models.peaks` knows, `train/mfu`.

    They go to the logger, which keeps them apart from what is learned (see `RunLogger`).

    Values are means over `every` optimiser steps, or over the rest of an epoch. The device is never waited for: a step
    ends when everything it does is queued, and the queue is short beside the steps of one value.

    `train/data_wait` is the share of time between one step and the next: loading, copying, and what other callbacks do.
    While a GPU is still busy with what is queued, waiting costs nothing; then the share is an upper limit.

    `train/mfu` (model FLOPs utilisation) is the arithmetic of the network's forward and backward pass, by its `macs`,
    over the data sheet's bfloat16 rate; in half precision, for a network all of whose layers are trained. The front end
    does not count.

    Args:
        every: Optimiser steps of one value.

    Attributes:
        latest: What was logged last, by name.
    """

    def __init__(self, every: int = 50) -> None:
        super().__init__()
        self.every = every
        self.latest: dict[str, float] = {}
        self._flops: dict[tuple[int, ...], int] = {}
        self._left = WARM_UP
        self._began = 0.0
        self._ended: float | None = None  # of the last batch, where the next one follows at once
        self._forget()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._left, self._ended = WARM_UP, None
        self._forget()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: dict[str, Any], batch_idx: int
    ) -> None:
        self._began = time.perf_counter()
        if self._ended is not None and not self._left:
            self._waited += self._began - self._ended

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        """A batch is done."""
        self._ended = time.perf_counter()
        if self._left:
            self._left -= 1
            return
        self._worked += self._ended - self._began
        self._batches += 1
        self._steps += (done := stepped(trainer, batch_idx))
        self._clips += len(batch["x"])
        self._shape = pl_module.input_shape(batch)
        if done and self._steps >= self.every:
            self._report(trainer, pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report what was measured: what follows is not training."""
        self._report(trainer, pl_module)
        self._ended = None

    on_train_epoch_end = on_validation_start

    def _report(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        seconds = self._worked + self._waited
        if self._batches and seconds > 0:
            rate = self._clips / seconds
            values = (rate * trainer.world_size, self._waited / seconds, self._share(trainer, pl_module, rate))
            self.latest = {name: value for name, value in zip(NAMES, values, strict=True) if value is not None}
            step = max(trainer.global_step - 1, 0)
            for name, value in self.latest.items():
                self.series.setdefault(name, []).append((step, value))
            if trainer.logger is not None:
                trainer.logger.log_metrics(self.latest, step=step)
        self._forget()

    def _share(self, trainer: L.Trainer, pl_module: L.LightningModule, rate: float) -> float | None:
        """Of the device's peak, at `rate` clips a second on one device."""
        device, network, shape = trainer.strategy.root_device, pl_module.net, self._shape
        if device.type != "cuda" or str(trainer.precision) == "32-true":
            return None
        peak = peak_bf16(torch.cuda.get_device_name(device))
        if peak is None or not all_trained(network):
            return None
        if shape not in self._flops:
            self._flops[shape] = training_flops(network, shape)
        return rate * pl_module.objective.views * self._flops[shape] / peak

    def _forget(self) -> None:
        self._waited = self._worked = 0.0
        self._batches = self._steps = self._clips = 0
        self._shape: tuple[int, ...] = ()


def throughput_of(trainer: L.Trainer) -> Throughput | None:
    """What measures how fast a trainer trains."""
    return next((callback for callback in trainer.callbacks if isinstance(callback, Throughput)), None)
