"""How a training looks while it runs: a bar on a terminal, a line an epoch elsewhere. Epochs are counted from 1."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import lightning as L
from lightning.pytorch.callbacks import Callback, RichProgressBar

from experiments.messages import say
from experiments.training.throughput import throughput_of

LINE = 120  # characters of the line of an epoch


def epoch_name(epoch: int, max_epochs: int | None) -> str:
    """An epoch, counted from 0, as it is shown."""
    return f"epoch {epoch + 1}/{max_epochs or 0}"


class EpochBar(RichProgressBar):
    """The bar of an epoch."""

    def _get_train_description(self, current_epoch: int) -> str:
        return epoch_name(current_epoch, self.trainer.max_epochs)


class EpochLine(Callback):
    """One line an epoch, where there is no terminal for a progress bar."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember when training began, and with which epoch: a checkpoint has been read by now."""
        self.began, self.first_epoch, self.validated = time.monotonic(), trainer.current_epoch, False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.validated = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say what was logged and how long the rest will take."""
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        spent = time.monotonic() - self.began
        left = spent / (done - self.first_epoch) * (total - done)
        speed = throughput_of(trainer)
        logged = {**trainer.progress_bar_metrics, **trainer.callback_metrics, **(speed.latest if speed else {})}
        fresh = {name: float(value) for name, value in logged.items() if self.validated or not name.startswith("val")}
        fresh.pop("v_num", None)
        head, tail = epoch_name(trainer.current_epoch, total), f"({spent:.0f} s, {left:.0f} s left)"
        objective = getattr(pl_module, "objective", None)
        shown = getattr(getattr(objective, "task", objective), "shown", ())
        first = [getattr(pl_module, "monitor", ""), *(f"val/{name}" for name in shown)]
        say(epoch_line(head, fresh, tail, first))
        self.validated = False


def epoch_line(head: str, metrics: Mapping[str, float], tail: str, first: Sequence[str] = ()) -> str:
    """Join an epoch's figures to a line: losses first, then scores, then the rest, as long as it has `LINE` characters.

    Of the scores those of the names `first` come first, in their order, and are all there.
    """

    def rank(name: str) -> tuple[bool, bool, int, str]:
        place = first.index(name) if name in first else len(first)
        return not name.endswith("/loss"), not name.startswith("val"), place, name

    ranked = sorted(metrics, key=rank)
    line = head
    for name in ranked:
        more = f"{line}  {name} {metrics[name]:.4g}"
        if name in first or len(more) + 2 + len(tail) <= LINE:
            line = more
    return f"{line}  {tail}"
