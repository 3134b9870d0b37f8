"""From settings or a checkpoint to a network, and what a checkpoint says so that it can be rebuilt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from experiments.errors import UserError
from experiments.tasks import Task, build
from models.frontends import MusiCNNMel


@dataclass(frozen=True)
class Loaded:
    """A network and what belongs to it.

    Attributes:
        network: In evaluation mode where it was trained before.
        description: `network` (arguments of its class), `task`, `labels`, `frontend` (fingerprint), `normalisation`
            (mean and deviation of stored log-mels); plain values, stored in every checkpoint.
        weights: Where the weights are from, in a form that two equal networks share.
        frontend: What its input is made with.
    """

    network: nn.Module
    description: Mapping[str, Any]
    weights: str
    frontend: MusiCNNMel

    @property
    def n_frames(self) -> int:
        """Frames of the clips it was made for."""
        return int(self.description["network"]["n_frames"])

    @property
    def n_classes(self) -> int:
        """Outputs."""
        return int(self.description["network"]["n_classes"])

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(self.description["labels"])

    @property
    def mean(self) -> float:
        """Of the log-mels it was trained on."""
        return float(self.description["normalisation"][0])

    @property
    def std(self) -> float:
        """Of the log-mels it was trained on."""
        return float(self.description["normalisation"][1])

    def task(self) -> Task:
        """What its outputs mean."""
        return build(self.description["task"], classes=self.labels)

    def classify(self, x: Tensor) -> Tensor:
        """Logits `[batch, classes]`; of the CLS head where there are two."""
        logits = self.network(x)
        return logits if isinstance(logits, Tensor) else logits[0]

    def check_frames(self, frames: int) -> int:
        """Return the length of a clip if the network takes it.

        Raises:
            UserError: It is too long.
        """
        if frames > self.n_frames:
            seconds = self.n_frames * self.frontend.hop / self.frontend.sample_rate
            raise UserError(
                f"clips of {frames} frames: this network takes up to {self.n_frames}; "
                f"leave datamodule.clip_length out or set it to {seconds:g} or less"
            )
        return frames


def normalisation(norm: NormSettings, frontend: MusiCNNMel) -> tuple[float, float]:
    """Mean and deviation of stored log-mels: the settings', else the front end's."""
    return (
        frontend.mean if norm.norm_mean is None else norm.norm_mean,
        frontend.std if norm.norm_std is None else norm.norm_std,
    )


def network_arguments(model: ModelSettings, n_bands: int, n_frames: int, n_classes: int) -> dict[str, Any]:
    """Arguments of `models.maest.MAEST` from settings."""
    own = model.model_dump(exclude={"pretrained", "checkpoint", "checkpoint_discard_head"})
    return {**own, "n_bands": n_bands, "n_frames": n_frames, "n_classes": n_classes}
