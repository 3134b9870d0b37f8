"""Lightning's metrics and checkpoints as the run's series and files."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from datasets.inside import file_state
from experiments.tracking.run import RunHandle

EPOCH = "epoch"  # Lightning adds it to every call; kept beside the series, not as one of them


class LogBeforeSaving(Callback):
    """Writes what was logged before a checkpoint is written: a training resumed from it does not log it again.

    Lightning logs a step after the last of its hooks, in which checkpoints are saved; see `log_step`.
    """

    def __init__(self, run: RunHandle):
        self._run = run

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Called while a checkpoint is gathered."""
        self._run.flush()


def log_step(trainer: Trainer) -> None:
    """Log the step that is done, at the end of its batch. Lightning will after this, and `RunLogger` knows it then."""
    trainer._logger_connector.update_train_step_metrics()


class RunLogger(Logger):
    """A Lightning logger that writes into a run.

    Metric names are those given to `self.log` (`train/loss`, `val/<metric>`); steps are zero-based optimiser steps, for
    validation too. Which epoch began at which step is kept in `info.epochs`: of epochs from 100 on every tenth, from
    1,000 on every hundredth, so that the records of a long run do not grow without end. Checkpoints are registered
    when Lightning has saved them, and the best one is described in `info.best`.

    Args:
        run: handle of the run.
        beside: names of values that say how a training runs, not what it learns: no series, whose scale would hide the
            others in a plot of all, but `info.throughput`, which holds the newest.
    """

    def __init__(self, run: RunHandle, beside: Collection[str] = ()):
        super().__init__()
        self._run = run
        self._beside = frozenset(beside)
        self._epoch: int | None = None
        self._step: int | None = None
        self._newest = ""
        self._epochs: dict[str, int] = dict(run.known("epochs") or {})
        self._registered: dict[str, tuple[int, int]] = {}

    @property
    def name(self) -> str:
        """Part of the path below which Lightning would put files; empty, they belong into the run's directory."""
        return ""

    @property
    def version(self) -> str:
        """See `name`."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's directory: Lightning's own files go there."""
        return str(self._run.directory)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add one point to each series, unless these are the newest; non-finite values are counted by the run."""
        newest = f"{step}: {metrics}"
        if newest == self._newest:
            return
        self._newest = newest
        if (epoch := metrics.get(EPOCH)) is not None:
            self._note_epoch(int(epoch), step)
        self._step = step if step is not None else self._step
        if beside := {name: value for name, value in metrics.items() if name in self._beside}:
            digits = {name.rpartition("/")[2]: float(f"{value:.4g}") for name, value in beside.items()}
            self._run.set_info(throughput=digits)
        for name, value in metrics.items():
            if name != EPOCH and name not in beside:
                self._run.log_scalar(name, value, step)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's configuration holds them, typed and whole."""
        del params, args, kwargs

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Register the files that this callback saved since the last call, the newest one last."""
        best = str(checkpoint_callback.best_model_path or "")
        scores = {str(path): _number(score) for path, score in checkpoint_callback.best_k_models.items()}
        newest = str(getattr(checkpoint_callback, "_last_checkpoint_saved", "") or "")
        others = [*scores, str(checkpoint_callback.last_model_path or ""), best]
        for name in [*dict.fromkeys(path for path in others if path and path != newest), *filter(None, [newest])]:
            mark = file_state(Path(name))
            if mark is None or self._registered.get(name) == mark:
                continue
            self._registered[name] = mark
            step = _number(getattr(checkpoint_callback, "_last_global_step_saved", None))
            step = self._step if step is None else int(step)
            score = scores.get(name)
            self._run.register_checkpoint(name, self._epoch, step, score, best=name == best and score is not None)
            if name == best and score is not None:
                self._run.set_info(
                    best={
                        "metric": checkpoint_callback.monitor,
                        "value": score,
                        "epoch": self._epoch,
                        "step": step,
                        "checkpoint": Path(name).name,
                    }
                )

    def _note_epoch(self, epoch: int, step: int | None) -> None:
        """Keep the first step seen of an epoch, the axis for reports."""
        if epoch != self._epoch:
            self._epoch = epoch
            if step is not None and epoch % 10 ** max(len(str(epoch)) - 2, 0) == 0:
                self._epochs.setdefault(str(epoch), step)
                self._run.set_info(epochs=dict(self._epochs))


def _number(value: Any) -> float | None:
    """A finite Python number from a number or a one-element tensor."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None
