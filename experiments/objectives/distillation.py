"""Distillation: a network learns from annotations and from a teacher's predictions for the same windows.

The recipe of MAEST's teacher-student network: the CLS head learns the annotations, the DIST head the teacher's
predictions (Touvron et al., "Training data-efficient image transformers", ICML 2021). A network of one head learns both
with it. Where there are no annotations, it learns the teacher's predictions alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.objectives.base import Batch, Evaluation, Kept
from experiments.objectives.supervised import Supervised
from experiments.tasks.base import Task
from models.augment import mixup
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
    log_probabilities = F.log_softmax(outputs.float() / temperature, dim=-1)
    return F.kl_div(log_probabilities, targets.float(), reduction="batchmean") * temperature**2


class Distillation(Supervised):
    """Weighs the loss against the annotations and the loss against a teacher; the annotations alone are evaluated.

    Batches hold `teacher [batch, classes]` besides: in validation NaN for tracks without a teacher's prediction. The
    losses are logged as `train/loss_labels`, `train/loss_teacher` and `val/loss_teacher`; `val/loss` and all metrics
    are those of the main head on the annotations, as without a teacher. Without annotations, `target` is what the
    teacher gives for the whole track, by which metrics are computed; `loss` is the teacher's in training and
    validation.

    Args:
        task: Of the annotations.
        teacher_task: What the teacher's targets mean; the last head gives its classes.
        weight: Of the teacher's loss; the rest is that of the annotations. None: there are none.
        temperature: Of soft targets; None for hard ones.
        join: As in `Supervised`.
    """

    def __init__(
        self,
        task: Task,
        teacher_task: Task,
        weight: float | None,
        temperature: float | None = None,
        join: str | None = None,
    ) -> None:
        super().__init__(task, join)
        self.teacher_task, self.weight, self.temperature = teacher_task, weight, temperature

    def losses(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Both losses and their weighted sum; both targets are mixed as the windows were."""
        mix, targets = batch.get("mix"), batch["teacher"]
        if mix is not None:
            targets = mixup(self.teacher_task.smooth_labels(targets), *mix)
        teacher = teacher_loss(self.teacher_task, last_head(outputs), targets, self.temperature)
        if self.weight is None:
            return {"loss": teacher}
        labels = super().losses(outputs, batch)["loss"]
        return {"loss": (1 - self.weight) * labels + self.weight * teacher, "labels": labels, "teacher": teacher}

    def keep_outputs(self, outputs: Outputs, batch: Batch) -> dict[str, np.ndarray]:
        """Those of the last head and the teacher's targets besides; a test has no teacher."""
        kept = super().keep_outputs(outputs, batch)
        if "teacher" not in batch:
            return kept
        student = last_head(outputs).float().cpu().numpy()
        return {**kept, "student": student, "teacher": batch["teacher"].cpu().numpy()}

    def evaluate(self, kept: Kept, reference: Callable[[int], np.ndarray]) -> Evaluation:
        """The teacher's loss besides, over the tracks that the teacher has predictions for."""
        evaluation = super().evaluate(kept, reference)
        if "teacher" not in kept:
            return evaluation
        student, targets = (torch.from_numpy(kept[name]) for name in ("student", "teacher"))
        known = ~targets.isnan().any(dim=1)
        if not known.any():
            return evaluation
        loss = float(teacher_loss(self.teacher_task, student[known], targets[known], self.temperature))
        name = "loss" if self.weight is None else "loss_teacher"
        return replace(evaluation, scores={**evaluation.scores, name: loss})
