"""The settings of `ex_pretrain.py`."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from experiments.settings.base import Count
from experiments.settings.data import DatamoduleSettings
from experiments.settings.inference import ExportSettings, InferenceSettings
from experiments.settings.model import Model, ModelSettings, NetworkExperimentSettings, default_model
from experiments.settings.training import DistillationSettings, ModuleSettings, TrainerSettings
from experiments.tracking import TrackingSettings

WITH_BLOCKS = "maest"  # what inference.transformer_block is for


def check_layers(network: str | None, inference: InferenceSettings) -> None:
    """Refuse a transformer block of a network that has none.

    Raises:
        ValueError: Names the setting to use instead.
    """
    block = inference.transformer_block
    if block is not None and network not in (None, WITH_BLOCKS):
        raise ValueError(
            f"inference.transformer_block={block} with model.network={network}: such blocks are {WITH_BLOCKS}'s; "
            "name a layer of this network, inference.layer=NAME"
        )


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


class PretrainSettings(NetworkExperimentSettings):
    """`ex_pretrain.py`."""

    seed: Count = 0  # of everything random but the splits
    resume: bool = False  # continue the newest interrupted run with these settings
    trainer: TrainerSettings = TrainerSettings()
    datamodule: DatamoduleSettings = DatamoduleSettings()
    model: Model = default_model(ModelSettings)
    module: ModuleSettings = ModuleSettings()
    distillation: DistillationSettings = DistillationSettings()
    inference: InferenceSettings = InferenceSettings()
    export: ExportSettings = ExportSettings()
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_layers(self.model.network, self.inference)
        check_augmentations(self.module, self.datamodule)
        return self
