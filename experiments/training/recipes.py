"""From settings to what a learner is made of: augmentations and objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.errors import UserError
from experiments.objectives import Distillation, Objective, Supervised
from experiments.settings import DatamoduleSettings, DistillationSettings, ModuleSettings
from experiments.tasks import Task
from models.augment import Chain

Steps = list[dict[str, Any]]


def training_augmentations(
    module: ModuleSettings,
    datamodule: DatamoduleSettings,
    audio: bool = False,
    item_shape: Sequence[int] | None = None,
    sample_rate: int | None = None,
) -> Chain:
    """What `module.augmentations` lists, else roll, mixup and masking as their own settings have them, in this order.

    Args:
        module: Of the training.
        datamodule: Of the windows.
        audio: Whether these are stored as audio.
        item_shape: Of a frame; None: with bands. Without bands there is no masking.
        sample_rate: Of the audio, Hz.

    Raises:
        UserError: There is no such augmentation, or it cannot be used on these windows.
    """
    roll, masking = datamodule.roll, datamodule.masking
    usual = [
        *([{"name": "roll", "shift_range": roll.shift_range}] if roll.do else []),
        *_mixup(module),
        *([{"name": "spec_augment", **masking.model_dump(exclude={"do"})}] if masking.do and item_shape != () else []),
    ]
    steps = usual if module.augmentations is None else module.augmentations
    if item_shape == () and any(step.get("name") == "spec_augment" for step in steps):
        raise UserError("module.augmentations: spec_augment masks bands, and the network sees samples: leave it out")
    return _chain(steps, audio, sample_rate)


def vector_augmentations(module: ModuleSettings) -> Chain:
    """The same for vectors, which have no time: mixup, where it is on."""
    return _chain(_mixup(module) if module.augmentations is None else module.augmentations, audio=False)


def _mixup(module: ModuleSettings) -> Steps:
    return [{"name": "mixup", "alpha": module.mixup_alpha}] if module.mixup_alpha > 0 else []


def _chain(steps: Steps, audio: bool, sample_rate: int | None = None) -> Chain:
    try:
        return Chain.build(steps, audio, sample_rate)
    except ValueError as error:
        raise UserError(f"module.augmentations: {error}") from error


def make_objective(
    task: Task,
    teacher_task: Task | None,
    distillation: DistillationSettings,
    join: str | None = None,
    annotated: bool = True,
) -> Objective:
    """Supervised learning, beside distillation where there is a teacher.

    Args:
        task: Of the annotations.
        teacher_task: Of the teacher's predictions; None: there is no teacher.
        distillation: Kind of the teacher's targets, weight of their loss.
        join: How the predictions of a track's windows become one.
        annotated: Whether there are annotations besides the teacher's predictions.
    """
    if teacher_task is None:
        return Supervised(task, join)
    temperature = distillation.temperature if distillation.targets == "soft" else None
    weight = distillation.weight if annotated else None
    return Distillation(task, teacher_task, weight, temperature, join)
