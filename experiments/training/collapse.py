"""A network that has come to give the same for all tracks, noticed while it is trained."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from experiments.messages import say
from experiments.tracking import RunHandle
from models.contrastive_measures import effective_rank, has_collapsed, uniformity

STARTING = 500  # steps that a network gets which gave the same for all tracks when it began


class CollapseWatch(Callback):
    """Looks at a batch of the training every so many steps, and at every validation; says once if all is the same.

    Networks may begin like that: some do with random weights, and in a validation those with batch norm until its
    running statistics are those of the data. So before `STARTING` steps only what has got lost is a collapse. A batch
    is looked at as the projection head sees it, which costs no further pass through the network.

    Args:
        every: Steps.
        run: Keeps what was found, as `info.collapse`.
    """

    def __init__(self, every: int, run: RunHandle) -> None:
        self.every, self.run = every, run
        self._spread = self._said = False
        self._hook: RemovableHandle | None = None
        self._seen: tuple[Tensor, Tensor] | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Have the batch looked at, where it is time."""
        if trainer.global_step % self.every == 0 and not self._said:
            self._hook = pl_module.objective.project.register_forward_hook(self._see)

    def _see(self, module: nn.Module, inputs: tuple[Tensor], projections: Tensor) -> None:
        self._seen = inputs[0].detach(), projections.detach()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Judge what the projection head saw last, the second views of the batch."""
        if self._hook is None:
            return
        self._hook.remove()
        self._hook = None
        if self._seen is not None and len(self._seen[0]) > 1:
            embeddings, projections = (one.float().cpu() for one in self._seen)
            self._judge(effective_rank(embeddings), uniformity(projections), trainer.global_step, True)
        self._seen = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge the tracks of the validation."""
        if trainer.state.fn == "fit" and pl_module.evaluation is not None:
            scores = pl_module.evaluation.scores
            self._judge(scores["rank"], scores["uniformity"], trainer.global_step, False)

    def _judge(self, rank: float, spread: float, step: int, training: bool) -> None:
        collapsed = has_collapsed(rank, spread)
        self._spread |= training and not collapsed
        if not collapsed or self._said or (step < STARTING and not (training and self._spread)):
            return
        self._said = True
        where = "training" if training else "validation"
        self.run.set_info(collapse={"step": step, "in": where, "rank": rank, "uniformity": spread})
        say(
            f"collapse: after {step} steps the network gives nearly the same for all tracks of the {where} (effective "
            f"rank of embeddings {rank:.3g}, uniformity of projections {spread:.2g}). It hardly recovers: begin again "
            "with a lower module.optimizer.lr, and make sure that the audio is not silent"
        )
