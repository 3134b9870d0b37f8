"""Supervised learning on vectors: a small network on what a large one said about whole tracks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from experiments.learners.supervised import SupervisedLearner
from experiments.settings import MaskingSettings, ModuleSettings, RollSettings
from experiments.tasks.base import Task


class VectorLearner(SupervisedLearner):
    """Trains a network on one vector a track.

    Batches hold `vector [batch, values]`, `target`, `track` and, outside training, `window`; items that share a `track`
    are judged by the mean of their answers. Everything else is as in `SupervisedLearner`.

    Args:
        network: `[batch, values]` to outputs.
        task: Loss, decoding, metrics.
        module: Optimiser, schedule, mixup.
        description: What rebuilds the network from a checkpoint; plain values.
    """

    def __init__(self, network: nn.Module, task: Task, module: ModuleSettings, description: Mapping[str, Any]) -> None:
        super().__init__(network, task, 0.0, 0.5, module, MaskingSettings(do=False), RollSettings(), description)

    def inputs(self, batch: dict[str, Tensor]) -> Tensor:
        """The vectors, as they were stored."""
        return batch["vector"]

    def forward(self, x: Tensor) -> Tensor:
        """Vectors `[batch, values]` to outputs."""
        return self.net(x)
