"""The state of a training where a signal ends it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from datasets.loading_processes import SIGNALS
from experiments.errors import UserError
from experiments.messages import say
from experiments.tracking.logger import log_step
from experiments.training.checkpointing import INTERRUPTED, LAST, Saved, last_batch, stepped, validation_follows


class SaveWhenInterrupted(Checkpoint):
    """Leaves `interrupted.ckpt` when a signal ends a training, from which it goes on as if nothing had happened.

    A signal waits until an optimiser step is done; a second one does not, and then nothing is saved. One that comes
    during validation ends it at once; the checkpoint is from before it. Once all batches are evaluated and metrics are
    about to be logged, it waits for the end of the epoch.

    Not with several processes: the others may be gone, or wait in the middle of a step, and saving would wait for them.
    Not after an error either, where the weights may be those of half a step. `last.ckpt` is there.

    Args:
        folder: Of the file.
        saved: Called where a file was saved.
    """

    def __init__(self, folder: Path, saved: Saved | None = None) -> None:
        self.path, self.saved = folder / f"{INTERRUPTED}.ckpt", saved
        self._handlers: dict[int, Any] = {}
        self._pending: tuple[int, FrameType | None] | None = None
        self._validating = self._before_validation = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Receive signals, in front of whoever receives them already."""
        self._pending, self._validating = None, False
        if trainer.world_size > 1 or threading.current_thread() is not threading.main_thread():
            return
        self._handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self._handlers = {number: handler for number, handler in self._handlers.items() if callable(handler)}
        for number in self._handlers:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self._validating and self._pending is None:
            self._pending = number, frame
            with contextlib.suppress(RuntimeError):  # it came while something else was printed
                say(
                    f"{signal.Signals(number).name}: ends after this step, with a checkpoint; once more ends it at once"
                )
        else:
            self._handlers[number](number, frame)

    def _forget_signals(self) -> None:
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._receive:
                signal.signal(number, handler)
        self._handlers = {}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Handle a signal, if nothing is half done."""
        last = last_batch(trainer, batch_idx)
        if not stepped(trainer, batch_idx) or (last and not validation_follows(trainer)):
            return
        self._validating = last
        if self._pending is not None:
            log_step(trainer)
        self._handle(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._handle(trainer)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """What is logged from here on must not be logged again."""
        self._validating = False

    def _handle(self, trainer: L.Trainer) -> None:
        if self._pending is not None:
            (number, frame), self._pending = self._pending, None
            self._save(trainer)
            self._validating = False
            self._handlers[number](number, frame)

    def _save(self, trainer: L.Trainer) -> None:
        self._before_validation = self._validating
        try:
            trainer.save_checkpoint(self.path)
        except UserError as error:  # the training ends for the signal all the same
            say(f"error: {error}")
            return
        finally:
            self._before_validation = False
        if self.saved:
            self.saved(self.path, trainer.current_epoch, trainer.global_step)
        say(f"the state of the moment is in {self.path}; give the same command with resume=True to go on")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The former handlers are back, for a signal that came last too."""
        handlers = self._handlers
        self._forget_signals()
        if self._pending is not None:
            handlers[self._pending[0]](*self._pending)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save what a validation was cut from, if a signal did it."""
        self._forget_signals()
        if not isinstance(exception, (KeyboardInterrupt, SystemExit)):
            return
        if self._validating:
            self._save(trainer)
        elif trainer.world_size > 1 and trainer.is_global_zero:
            self._report_last()

    def _report_last(self) -> None:
        last = self.path.with_name(f"{LAST}.ckpt")
        if last.is_file():
            age = max(time.time() - last.stat().st_mtime, 0.0)
            say(
                f"several processes do not save the state of the moment; that of {age:.0f} s ago is in {last}: "
                "give the same command with resume=True to go on from there"
            )
        else:
            say("several processes do not save the state of the moment, and there is no checkpoint yet")

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Have Lightning begin with the validation, where the epoch's steps are done and it is not."""
        if self._before_validation:
            loops = checkpoint["loops"]["fit_loop"]
            batches = loops["epoch_loop.batch_progress"]
            for counts in (batches["total"], batches["current"]):
                counts["completed"] = counts["processed"]
            begun = dict.fromkeys(("ready", "started", "processed", "completed"), 0)
            loops["epoch_loop.val_loop.batch_progress"].update(
                total={**begun, "ready": 1, "started": 1}, current=begun, is_last_batch=False
            )
