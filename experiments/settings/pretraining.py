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
    network = settings.model.kind
    if network.over_time:
        raise ValueError(
            f"module.objective=contrastive with model.network={network.name}, whose layers say what happens when: the "
            "objective compares one vector a window; take a network of whole windows, such as clmr, tune or maest"
        )
    if settings.module.freeze == "all":
        raise ValueError(
            "module.freeze=all beside module.objective=contrastive: nothing of the network would be learned"
        )
    check_unread(settings)
    if settings.contrastive.masked and not hasattr(network, "embed_masked"):
        raise ValueError(
            f"contrastive.masked={settings.contrastive.masked:g}: the network {settings.model.network} has no patches "
            "that could be left out; model.network=maest has"
        )
    if settings.datamodule.batch_size_train < 2:
        raise ValueError(
            f"datamodule.batch_size_train={settings.datamodule.batch_size_train}: contrastive learning tells the "
            "tracks of a batch from each other, so it takes at least 2"
        )


def check_unread(settings: PretrainSettings) -> None:
    """Refuse settings about labels and a teacher, which contrastive learning does not have.

    Raises:
        ValueError: Names the first of them, and why it does not count.
    """
    module, data = settings.module, settings.datamodule
    no_teacher, no_labels = "which has no teacher", "which has no labels to mix"
    once, whole = (
        "which draws every track once an epoch",
        "which splits by a table, by folders or by a hash of the track",
    )
    usual = type(data.sampler)()
    unread = {
        "distillation.logits": (settings.distillation.logits is not None, settings.distillation.logits, no_teacher),
        "module.mixup_alpha": (
            module.mixup_alpha not in (0.0, ModuleSettings.model_fields["mixup_alpha"].default),
            module.mixup_alpha,
            no_labels,
        ),
        "datamodule.splits": (data.splits not in (None, "hashed"), data.splits, whole),
    } | {
        f"datamodule.sampler.{name}": (value != getattr(usual, name), value, once)
        for name, value in data.sampler
        if name != "epoch_len" and value != "tracks"
    }
    for name, (given, value, why) in unread.items():
        if given:
            raise ValueError(f"{name}={value} beside module.objective=contrastive, {why}: leave it out")


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
