"""The settings of `ex_pretrain.py`."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from experiments.settings.base import Count
from experiments.settings.data import DatamoduleSettings
from experiments.settings.inference import ExportSettings, InferenceSettings
from experiments.settings.model import Model, ModelSettings, NetworkExperimentSettings, default_model
from experiments.settings.rhythm import RhythmSettings
from experiments.settings.robustness import RobustnessSettings
from experiments.settings.training import ContrastiveSettings, DistillationSettings, ModuleSettings, TrainerSettings
from experiments.tracking import TrackingSettings


def check_augmentations(module: ModuleSettings, datamodule: DatamoduleSettings) -> None:
    """Refuse settings of augmentation beside a list of steps that replaces them.

    Raises:
        ValueError: Names the setting that nothing would read.
    """
    if module.augmentations is None:
        return
    unread = {"datamodule.roll.do": datamodule.roll.do, "module.mixup_alpha": module.mixup_alpha}
    usual = {"datamodule.roll.do": False, "module.mixup_alpha": type(module).model_fields["mixup_alpha"].default}
    for key, value in unread.items():
        if value and value != usual[key]:
            raise ValueError(f"{key}={value} beside module.augmentations: make it a step there, or leave it out")


def check_objective(settings: PretrainSettings) -> None:
    """Refuse settings that the objective does not read.

    Raises:
        ValueError: Names them.
    """
    if settings.module.objective != "contrastive":
        if settings.contrastive != ContrastiveSettings():
            raise ValueError("contrastive.* counts for module.objective=contrastive: set it, or leave these out")
        return
    if settings.distillation.logits is not None:
        raise ValueError(
            "distillation.logits beside module.objective=contrastive, which has no teacher: leave one of them out"
        )
    if settings.contrastive.masked and not hasattr(settings.model.kind, "embed_masked"):
        raise ValueError(
            f"contrastive.masked={settings.contrastive.masked:g}: the network {settings.model.network} has no patches "
            "that could be left out; model.network=maest has"
        )
    usual = ModuleSettings.model_fields["mixup_alpha"].default
    if settings.module.mixup_alpha not in (0.0, usual):
        raise ValueError(
            f"module.mixup_alpha={settings.module.mixup_alpha} beside module.objective=contrastive, which has no "
            "labels to mix: leave it out"
        )
    if settings.datamodule.batch_size_train < 2:
        raise ValueError(
            f"datamodule.batch_size_train={settings.datamodule.batch_size_train}: contrastive learning tells the "
            "tracks of a batch from each other, so it takes at least 2"
        )


class PretrainSettings(NetworkExperimentSettings):
    """`ex_pretrain.py`."""

    seed: Count = 0  # of everything random but the splits
    resume: bool = False  # continue the newest interrupted run with these settings
    trainer: TrainerSettings = TrainerSettings()
    datamodule: DatamoduleSettings = DatamoduleSettings()
    model: Model = default_model(ModelSettings)
    module: ModuleSettings = ModuleSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
    distillation: DistillationSettings = DistillationSettings()
    inference: InferenceSettings = InferenceSettings()
    export: ExportSettings = ExportSettings()
    robustness: RobustnessSettings = RobustnessSettings()
    rhythm: RhythmSettings = RhythmSettings()
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_augmentations(self.module, self.datamodule)
        check_objective(self)
        return self
