"""Distillation: a network learns from annotations and from what a teacher said about the same clips.

The recipe of MAEST's teacher-student network: the CLS head answers to the annotations, the DIST head to the teacher
(Touvron et al., "Training data-efficient image transformers", ICML 2021). A network of one head answers to both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.learners.supervised import Mix, SupervisedLearner
from experiments.settings import DistillationSettings, MaskingSettings, ModuleSettings, RollSettings
from experiments.tasks.base import Task
from models.network import Outputs


def last_head(outputs: Outputs) -> Tensor:
    """Logits `[batch, n_outputs]`: those of the DIST head where there are two."""
    return outputs if isinstance(outputs, Tensor) else list(outputs.values())[-1]


def teacher_loss(task: Task, outputs: Tensor, targets: Tensor, temperature: float | None = None) -> Tensor:
    """How far a student is from its teacher.

    Args:
        task: What the outputs mean.
        outputs: Logits `[items, n_outputs]` of the student.
        targets: `[items, n_outputs]` of the teacher, zeros and ones or probabilities.
        temperature: Of soft targets; None for hard ones.

    Returns:
        The task's own loss. For soft targets between classes that exclude each other, the Kullback-Leibler divergence
        from the student's softmax at that temperature, times its square, so that gradients keep their size (Hinton et
        al., arXiv 1503.02531). Independent classes have the temperature on the teacher's side alone (Schmid et al.,
        ICASSP 2023).
    """
    if temperature is None or task.kind != "class":
        return task.loss(outputs, targets)
    said = F.log_softmax(outputs.float() / temperature, dim=-1)
    return F.kl_div(said, targets.float(), reduction="batchmean") * temperature**2


class DistillationLearner(SupervisedLearner):
    """Trains a network on annotations and on a teacher's targets, judges it on annotations.

    Batches hold `teacher [batch, classes]` besides: in validation NaN for tracks that the teacher has not heard. It
    logs `train/loss_labels`, `train/loss_teacher` and `val/loss_teacher` besides; `val/loss` and all metrics are those
    of the first head on the annotations, as without a teacher.

    Args:
        network: See `SupervisedLearner`; its second head, where it has one, gives the teacher's classes.
        task: See `SupervisedLearner`.
        mean: See `SupervisedLearner`.
        std: See `SupervisedLearner`.
        module: See `SupervisedLearner`.
        masking: See `SupervisedLearner`.
        roll: See `SupervisedLearner`.
        description: See `SupervisedLearner`.
        taught: What the teacher's targets mean.
        distillation: Kind of the targets, weight of their loss.
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
        taught: Task,
        distillation: DistillationSettings,
    ) -> None:
        super().__init__(network, task, mean, std, module, masking, roll, description)
        self.taught, self.weight = taught, distillation.weight
        self.temperature = distillation.temperature if distillation.targets == "soft" else None
        self._heard: tuple[np.ndarray, np.ndarray] | None = None

    def training_loss(self, outputs: Outputs, batch: dict[str, Tensor], mix: Mix | None) -> Tensor:
        """Loss against the annotations and loss against the teacher, weighted; both targets are mixed as the clips."""
        labels = super().training_loss(outputs, batch, mix)
        teacher = self.teacher_loss(last_head(outputs), self.mixed(batch["teacher"], mix))
        for name, loss in (("labels", labels), ("teacher", teacher)):
            self.log(f"train/loss_{name}", loss.detach(), batch_size=len(batch["target"]), sync_dist=True)
        return (1 - self.weight) * labels + self.weight * teacher

    def teacher_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`teacher_loss` of this student."""
        return teacher_loss(self.taught, outputs, targets, self.temperature)

    def _judged(self, outputs: Outputs, batch: dict[str, Tensor]) -> dict[str, np.ndarray]:
        kept = super()._judged(outputs, batch)
        if "teacher" not in batch:
            return kept
        said = last_head(outputs).float().cpu().numpy()
        return {**kept, "taught": said, "teacher": batch["teacher"].cpu().numpy()}

    def _gather(self) -> dict[str, np.ndarray]:
        gathered = super()._gather()
        heard = "teacher" in gathered
        self._heard = (gathered.pop("taught"), gathered.pop("teacher")) if heard else None
        return gathered

    def _score(self, split: str, suffix: str = "") -> None:
        super()._score(split, suffix)
        if self._heard is None:
            return
        said, targets = (torch.from_numpy(values) for values in self._heard)
        known = ~targets.isnan().any(dim=1)
        if known.any():
            self.log(f"{split}/loss_teacher{suffix}", self.teacher_loss(said[known], targets[known]))
