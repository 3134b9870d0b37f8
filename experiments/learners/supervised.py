"""Supervised learning: a network, a task, clips with targets (MAEST, arXiv 2309.16418, section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from experiments.errors import UserError
from experiments.learners.schedules import BY_STEP, SCHEDULES
from experiments.settings import MaskingSettings, ModuleSettings, RollSettings
from experiments.tasks.base import Task
from experiments.training.averaging import take_out
from experiments.training.optimizers import freeze, make_optimizer
from models import augment
from models.network import Outputs, main_head

Mix = tuple[Tensor, Tensor]  # partners and weights of a mixup


class SupervisedLearner(L.LightningModule):
    """Trains a network on clips, judges it on whole tracks.

    Batches hold `mel [batch, frames, bands]` (stored log-mel, any float type), `target`, `track` and, outside training,
    `window`. What it logs: `train/loss`, `train/lr` (of the heads), `val/loss` and the task's metrics as
    `val/*`, `test/*`.

    Args:
        network: Normalised clips `[batch, frames, bands]` to logits.
        task: Loss, decoding, metrics.
        mean: Of the stored features.
        std: Of the stored features; clips become `(x - mean) / (2 std)`.
        module: Optimiser, schedule, mixup, frozen layers.
        masking: SpecAugment.
        roll: Circular shift.
        description: What rebuilds the network from a checkpoint (`network`, `labels`, `frontend`, ...); plain values.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        mean: float,
        std: float,
        module: ModuleSettings,
        masking: MaskingSettings,
        roll: RollSettings,
        description: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.net, self.task, self.mean, self.std = network, task, mean, std
        self.settings, self.masking, self.roll = module, masking, roll
        freeze(network, module.freeze)
        self.save_hyperparameters(dict(description))
        self.averaged = False  # whether the checkpoint loaded last holds an average
        self.averaged_networks: dict[
            str, nn.Module
        ] = {}  # networks judged in validation besides, by the suffix of their metrics
        self.outputs: list[dict[str, np.ndarray]] = []
        self._of_stand_ins: dict[str, list[dict[str, np.ndarray]]] = {}
        self.predictions = np.empty(0)
        self.references = np.empty(0)
        self.tracks = np.empty(0, int)

    def normalise(self, mel: Tensor) -> Tensor:
        """Stored log-mel to network input, float32."""
        return (mel.float() - self.mean) / (2 * self.std)

    def inputs(self, batch: dict[str, Tensor]) -> Tensor:
        """What a batch holds for the network, before any augmentation."""
        return self.normalise(batch["mel"])

    def forward(self, mel: Tensor) -> Outputs:
        """Normalised clips `[batch, frames, bands]` to what the network gives: logits, or a pair of them."""
        return self.net(mel)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """One optimiser step: roll, mixup, mask (in this order), loss."""
        x, mix = self.augmented(self.inputs(batch))
        loss = self.training_loss(self(x), batch, mix)
        self.log("train/loss", loss.detach(), batch_size=len(x), prog_bar=True, sync_dist=True)
        return loss * self._share(batch_idx)

    def _share(self, batch_idx: int) -> float:
        """Lightning divides by the batches of a whole step; the last step of an epoch may have fewer."""
        trainer = self._trainer
        if trainer is None or trainer.accumulate_grad_batches == 1:
            return 1.0
        whole = trainer.accumulate_grad_batches
        rest = trainer.num_training_batches % whole
        return whole / rest if batch_idx >= trainer.num_training_batches - rest else 1.0

    def augmented(self, x: Tensor) -> tuple[Tensor, Mix | None]:
        """Normalised clips as they are trained on, and how they were mixed."""
        if self.roll.do:
            x = augment.roll(x, self.roll.shift_range)
        mix = None
        if self.settings.mixup_alpha > 0:
            mix = augment.mixup_draw(len(x), self.settings.mixup_alpha, x.device)
            x = augment.mixup(x, *mix)
        if self.masking.do:
            x = augment.spec_augment(x, **self.masking.model_dump(exclude={"do"}))
        return x, mix

    def training_loss(self, outputs: Outputs, batch: dict[str, Tensor], mix: Mix | None) -> Tensor:
        """Loss of the first head against the targets, mixed as the clips were."""
        return self.task.loss(main_head(outputs), self.mixed(batch["target"], mix))

    def mixed(self, target: Tensor, mix: Mix | None) -> Tensor:
        """Targets, mixed as the clips were; class numbers, and tempi for classes, become shares of classes."""
        if mix is None:
            return target
        return augment.mixup(self.task.smooth_labels(target), *mix)

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the learning rate of the step."""
        self.log("train/lr", self.optimizers().param_groups[0]["lr"], on_step=True, on_epoch=False)

    @contextmanager
    def _standing_in(self, suffix: str, network: nn.Module) -> Iterator[None]:
        """Meanwhile `network` is the network, and outputs are kept apart."""
        kept = self.net, self.outputs
        self.net, self.outputs = network, self._of_stand_ins.pop(suffix, [])
        try:
            yield
        finally:
            self._of_stand_ins[suffix] = self.outputs
            self.net, self.outputs = kept

    def _judge(self, batch: dict[str, Tensor]) -> None:
        self.outputs.append(self._judged(self(self.inputs(batch)), batch))

    def _judged(self, outputs: Outputs, batch: dict[str, Tensor]) -> dict[str, np.ndarray]:
        """What is kept of a batch until the epoch ends; arrays of equal length."""
        return {
            "outputs": main_head(outputs).float().cpu().numpy(),
            "target": batch["target"].cpu().numpy(),
            "track": batch["track"].cpu().numpy(),
            "window": batch["window"].cpu().numpy(),
        }

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Keep the outputs of a batch until the epoch ends."""
        self._judge(batch)
        for suffix, network in self.averaged_networks.items():
            with self._standing_in(suffix, network):
                self._judge(batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Keep the outputs of a batch until the epoch ends."""
        self._judge(batch)

    def on_validation_epoch_end(self) -> None:
        """Score the validation split."""
        for suffix, network in self.averaged_networks.items():
            with self._standing_in(suffix, network):
                self._score("val", suffix)
        self._score("val")

    def on_test_epoch_end(self) -> None:
        """Score the test split; `tracks`, `predictions` and `references` keep what was scored."""
        self._score("test")

    def _score(self, split: str, suffix: str = "") -> None:
        gathered = self._gather()
        loss = self.task.loss(torch.from_numpy(gathered["outputs"]), torch.from_numpy(gathered["target"]))
        self.tracks, first, number = np.unique(gathered["track"], return_index=True, return_inverse=True)
        decoded = np.asarray(self.task.decode(gathered["outputs"]))
        sums = np.zeros((len(self.tracks), decoded.shape[1]))
        np.add.at(sums, number, decoded)
        self.predictions = sums / np.bincount(number)[:, None]
        self.references = gathered["target"][first]
        self.log(f"{split}/loss{suffix}", loss)
        try:
            scores = self.scores()
        except UserError as error:  # too few tracks to score anything is no reason to lose the training
            rank_zero_warn(f"{split}: {error}")
            return
        self.log_dict({f"{split}/{name}{suffix}": value for name, value in scores.items() if not name.startswith("n_")})

    def scores(self) -> dict[str, float]:
        """The task's metrics on the tracks judged last."""
        return self.task.score(self.predictions, self.references)

    def _gather(self) -> dict[str, np.ndarray]:
        """The kept outputs of all ranks, each window once, in order."""
        kept, self.outputs = self.outputs, []
        if self.trainer.world_size > 1:
            everyone: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(everyone, kept)
            kept = [part for rank in everyone for part in rank]
        joined = {key: np.concatenate([part[key] for part in kept]) for key in kept[0]}
        _, once = np.unique(joined["window"], return_index=True)
        return {key: values[once] for key, values in joined.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the averaged weights apart; a test judges them, where there are any."""
        self.averaged = take_out(checkpoint, instead=self.trainer.state.fn == "test")

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Limit the gradient's norm; Lightning itself refuses to beside fused optimisers in mixed precision."""
        if gradient_clip_val:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW or Adam over all trainable parameters, its rate set by epoch or step."""
        optimizer = self.settings.optimizer
        scaled = self.trainer.precision == "16-mixed"  # the fused kernel undoes the scaling after gradients are clipped
        made = make_optimizer(self.net, optimizer, fused=not (scaled and self.trainer.gradient_clip_val))
        factor = SCHEDULES[optimizer.schedule_mode](
            optimizer.warm_up_len, optimizer.ramp_down_start, optimizer.ramp_down_len, optimizer.last_lr_value
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(made, factor)
        interval = "step" if optimizer.schedule_mode in BY_STEP else "epoch"
        return {"optimizer": made, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}
