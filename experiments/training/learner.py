"""The one LightningModule: any network, its inputs, and an objective."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from experiments import distributed
from experiments.errors import UserError
from experiments.objectives import Evaluation, Objective
from experiments.objectives.base import PER_WINDOW
from experiments.training.averaging import take_out
from experiments.training.optimizers import make_optimizer, make_schedule
from experiments.training.phases import PHASE, Phase
from models.augment import Chain, resample
from models.descriptions import THRESHOLDS
from models.frontends.base import full_precision
from models.inputs import Inputs
from models.network import Outputs
from models.optim import frozen_to_eval
from models.thresholds import Thresholds


class Learner(L.LightningModule):
    """Trains a network for an objective and evaluates it on whole tracks.

    Batches hold `x`, stored features or audio `[batch, rows, *item_shape]`, of an objective with several views
    `[batch, views, rows, *item_shape]`, what the objective needs, `track`, and outside of training `window`. Logged are
    `train/loss`, `train/lr` (of the heads), other losses as `train/loss_NAME`, and what the objective evaluates as
    `val/*` and `test/*`.

    Args:
        network: Normalised frames to outputs.
        inputs: Makes these of `x`; a module without effect where `x` is what the network sees.
        objective: Losses, and how a split is evaluated.
        description: What rebuilds the network from a checkpoint (`network`, `labels`, `frontend`, ...); plain values.
        phases: Optimisers, one after another.
        augmentations: Of training batches.
        monitor: The value of a validation that decides which epoch is best.
        frames: Of a window, to which crops are brought that are played faster or slower.

    Attributes:
        evaluations: Of the network and of averages, of the split evaluated last, by the suffix of their metrics.
        thresholds: Of a tagger, from the checkpoint loaded last.
        averaged: Whether the checkpoint loaded last holds an average.
        averaged_networks: Networks validated besides, by the suffix of their metrics.

    Raises:
        UserError: Examples are mixed that have no labels, or several views.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: nn.Module,
        objective: Objective,
        description: Mapping[str, Any],
        phases: Sequence[Phase],
        augmentations: Chain | None = None,
        monitor: str = "val/loss",
        frames: int | None = None,
    ) -> None:
        super().__init__()
        self.net, self.inputs, self.objective = network, inputs, objective
        self.audio = isinstance(inputs, Inputs) and inputs.audio
        self.phases, self.phase, self.monitor, self.frames = tuple(phases), 0, monitor, frames
        self.augmentations = augmentations or Chain()
        if self.augmentations.mixes and (not objective.needs_labels or objective.views > 1):
            raise UserError(
                f"mixup mixes examples and their labels; {type(objective).__name__} has "
                f"{'several views' if objective.needs_labels else 'no labels'}: leave it out of module.augmentations"
            )
        self.save_hyperparameters(dict(description))
        self.averaged = False
        self.averaged_networks: dict[str, nn.Module] = {}
        self.evaluations: dict[str, Evaluation] = {}
        self.thresholds: Thresholds | None = None
        self._kept: dict[str, list[dict[str, np.ndarray]]] = {}
        frozen_to_eval(self)

    def train(self, mode: bool = True) -> Learner:
        """Train, but for what is frozen, whose batch statistics stay as they are."""
        super().train(mode)
        if mode:
            frozen_to_eval(self)
        return self

    @property
    def evaluation(self) -> Evaluation | None:
        """Of the network, of the split that was evaluated last."""
        return self.evaluations.get("")

    def forward(self, x: Tensor) -> Outputs:
        """Normalised windows `[batch, frames, *item_shape]` to logits, or those of each head."""
        return self.net(x)

    def prepared(self, batch: Mapping[str, Any], augmentations: Chain | None = None) -> dict[str, Any]:
        """A batch with the network's input as `x`, augmented, and `mix` where examples were mixed."""
        chain, x = augmentations or Chain(), batch["x"]
        if self.objective.views > 1:
            x = x.flatten(0, 1)
        if self.audio:
            with full_precision(x.device):
                x = self.inputs(chain.waveforms(self.inputs.waveform(x)))
        else:
            x = self.inputs(x)
        if "rate" in batch:
            x = resample(x, batch["rate"].flatten(), self.frames)
        x, mix = chain.features(x)
        if self.objective.views > 1:
            x = x.unflatten(0, (-1, self.objective.views))
        return {**batch, "x": x} | ({} if mix is None else {"mix": mix})

    def input_shape(self, batch: Mapping[str, Any]) -> tuple[int, ...]:
        """`[frames, *item_shape]` that the network sees of one window of a batch."""
        shape = tuple(batch["x"].shape[2 if self.objective.views > 1 else 1 :])
        if not self.audio:
            return shape
        frontend = self.inputs.frontend
        return (frontend.n_frames(shape[0]), *frontend.item_shape)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Augmentations, then the losses."""
        losses = self.objective.loss(self.net, self.prepared(batch, self.augmentations))
        size, loss = len(batch["x"]), losses["loss"]
        for name, value in losses.items():
            if name != "loss":
                self.log(f"train/loss_{name}", value.detach(), batch_size=size, sync_dist=True)
        self.log("train/loss", loss.detach(), batch_size=size, prog_bar=True, sync_dist=True)
        return loss * self._share(batch_idx)

    def _share(self, batch_idx: int) -> float:
        """Lightning divides by the batches of a whole step; the last step of an epoch may have fewer."""
        trainer = self._trainer
        if trainer is None or trainer.accumulate_grad_batches == 1:
            return 1.0
        whole = trainer.accumulate_grad_batches
        rest = trainer.num_training_batches % whole
        return whole / rest if batch_idx >= trainer.num_training_batches - rest else 1.0

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("train/lr", self.optimizers().param_groups[0]["lr"], on_step=True, on_epoch=False)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Keep what the objective evaluates, of the network and of averages, until the epoch ends."""
        chain = self.augmentations if self.objective.validated_augmented else None
        self._keep(batch, {"": self.net, **self.averaged_networks}, chain)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._keep(batch, {"": self.net})

    def _keep(
        self, batch: dict[str, Any], networks: Mapping[str, nn.Module], augmentations: Chain | None = None
    ) -> None:
        draws = (int(batch["window"][0]), batch["x"].device) if augmentations is not None else None
        with repeated(draws):
            batch = self.prepared(batch, augmentations)
        rows = {name: batch[name].cpu().numpy() for name in PER_WINDOW if name in batch}
        if self.audio and "start" in rows:  # samples, of which tasks know nothing
            rows["start"] = rows["start"] / self.inputs.frontend.hop
        if self.audio and "rows" in rows:
            rows["rows"] = self.inputs.frontend.n_frames(rows["rows"])
        for suffix, network in networks.items():
            with repeated(draws):
                kept = self.objective.keep(network, batch)
            self._kept.setdefault(suffix, []).append({**kept, **rows})

    def on_validation_epoch_end(self) -> None:
        self.evaluations = {}
        for suffix in self.averaged_networks:
            self._evaluate("val", suffix)
        self._evaluate("val")

    def on_test_epoch_end(self) -> None:
        self._evaluate("test")

    def _evaluate(self, split: str, suffix: str = "") -> None:
        loaders = self.trainer.val_dataloaders if split == "val" else self.trainer.test_dataloaders
        evaluation = self.objective.evaluate(
            gathered(self._kept.pop(suffix, [])), lambda track: loaders.dataset.targets.whole(track)
        )
        if evaluation.problem:
            rank_zero_warn(f"{split}: {evaluation.problem}")
        self.evaluations[suffix] = evaluation
        self.log_dict({f"{split}/{name}{suffix}": value for name, value in evaluation.scores.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note the phase, where there are several."""
        if len(self.phases) > 1:
            checkpoint[PHASE] = self.phase

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the averaged weights apart; outside of a training they are evaluated, where there are any."""
        self.averaged = take_out(checkpoint, instead=self.trainer.state.fn in ("test", "validate"))
        self.phase = min(checkpoint.get(PHASE, 0), len(self.phases) - 1)
        entry = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {}).get(THRESHOLDS)
        self.thresholds = Thresholds.of_entry(entry) if entry else None

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
        """The optimiser of the phase, and its schedule."""
        settings = self.phases[self.phase].optimizer
        scaled = self.trainer.precision == "16-mixed"  # the fused kernel undoes the scaling after gradients are clipped
        fused = not (scaled and self.trainer.gradient_clip_val)
        made = make_optimizer(self.net, settings, fused, self.inputs, self.objective)
        return {"optimizer": made, "lr_scheduler": make_schedule(made, settings, self.monitor)}


@contextlib.contextmanager
def repeated(draws: tuple[int, torch.device] | None) -> Iterator[None]:
    """What is drawn meanwhile follows from a seed, on a device; afterwards all is drawn as if nothing had been.

    Args:
        draws: Seed and device; None: nothing is changed.
    """
    if draws is None:
        yield
        return
    seed, device = draws
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def gathered(kept: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What all ranks have kept, each window once, in order."""
    kept = [part for rank in distributed.gather(kept) for part in rank]
    joined = {key: np.concatenate([part[key] for part in kept]) for key in kept[0]}
    _, once = np.unique(joined["window"], return_index=True)
    return {key: values[once] for key, values in joined.items()}
