"""The settings of transfer learning: MAEST's probe on stored embeddings, or any network from audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from experiments.settings import (
    Count,
    DatamoduleSettings,
    DistillationSettings,
    ExportSettings,
    InferenceSettings,
    ModuleSettings,
    OptimizerSettings,
    Positive,
    PretrainSettings,
    RhythmSettings,
    RobustnessSettings,
    Section,
    ServiceSettings,
    TrainerSettings,
)
from experiments.settings.model import NetworkExperimentSettings, OptionalModel, OptionalModelSettings, default_model
from experiments.settings.pretraining import check_augmentations
from experiments.tracking import TrackingSettings

CLIPS_ONLY = (
    "roll",
    "masking",
    "norm",
    "sampler",
    "input",
    "store_type",
    "clip_length",
    "preload",
    "num_workers",
)  # keys of datamodule about windows


class StoredSettings(Section):
    """What the probe sees of a track: the mean of its windows, reduced to a vector."""

    store: str | None = None  # a store of extract_embeddings, or the folder of those of several blocks
    name: str = ""  # of its encoder in reports, where "(transfer)" stands behind it; empty: the store's folder
    block: Count | None = None  # which one of a folder of several; None: the only one
    tokens: Annotated[list[Literal["cls", "dist", "mean"]], Field(min_length=1)] | None = None  # None: [cls]
    reduce: Literal["mean", "stack"] = "mean"  # several tokens become one by their mean, or stand side by side

    @model_validator(mode="after")
    def _each_once(self) -> StoredSettings:
        if self.tokens and len(set(self.tokens)) < len(self.tokens):
            raise ValueError(f"tokens=[{','.join(self.tokens)}]: give each once")
        return self


class MLPSettings(Section):
    """The probe: linear, ReLU, dropout, linear."""

    hidden: Positive = 512  # units
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5  # share of the hidden units
    monitor: Literal["metric", "loss"] = "metric"  # the best checkpoint: of the task's first metric, or of the loss
    file: str | None = None  # where training leaves the probe besides its run, and predict finds it


class ProbeOptimizerSettings(OptimizerSettings):
    """The optimiser, and the learning-rate factor by epoch, as long as the training unless lengths are given."""

    lr: Annotated[float, Field(gt=0)] = 1e-4  # largest learning rate
    weight_decay: Annotated[float, Field(ge=0)] = 1e-3  # of the optimiser
    warm_up_len: Positive | None = None  # epochs; None: a sixth of trainer.max_epochs
    ramp_down_start: Count | None = None  # None: where warm-up ends
    ramp_down_len: Positive | None = None  # None: to the end
    last_lr_value: Annotated[float, Field(ge=0, le=1)] = 1e-7  # of lr, after the ramp

    def over(self, epochs: int) -> OptimizerSettings:
        """The same with lengths, for a training of so many epochs."""
        warm_up = self.warm_up_len or max(1, round(epochs / 6))
        start = warm_up if self.ramp_down_start is None else self.ramp_down_start
        length = self.ramp_down_len or max(1, epochs - start)
        return self.model_copy(
            update={"warm_up_len": warm_up, "ramp_down_start": start, "ramp_down_len": length},
        )


class ProbeModuleSettings(ModuleSettings):
    """Training of the probe."""

    encode: Literal["crop", "windows"] | None = None  # with freeze=all: once, a random crop a track, or all its windows
    mixup_alpha: Annotated[float, Field(ge=0)] = 0.0  # 0: off
    do_swa: bool | None = False  # mean of the weights at the start of some epochs
    optimizer: ProbeOptimizerSettings = ProbeOptimizerSettings()


class TransferSettings(NetworkExperimentSettings):
    """`ex_transfer.py`: a probe on stored embeddings, or a network from audio: `model.network`, or that of weights."""

    implying: ClassVar[tuple[str, ...]] = ("model.checkpoint", "model.pretrained", "embeddings.store")

    seed: Count = 0  # of everything random but the splits
    resume: bool = False  # continue the newest interrupted run with these settings
    embeddings: StoredSettings = StoredSettings()
    datamodule: DatamoduleSettings = DatamoduleSettings(batch_size_train=128, batch_size_test=1024)
    probe: MLPSettings = MLPSettings()
    model: OptionalModel = default_model(OptionalModelSettings)
    trainer: TrainerSettings = TrainerSettings(max_epochs=60, precision="32-true")
    module: ProbeModuleSettings = ProbeModuleSettings()
    distillation: DistillationSettings = DistillationSettings()
    inference: InferenceSettings = InferenceSettings()
    export: ExportSettings = ExportSettings()
    robustness: RobustnessSettings = RobustnessSettings()
    rhythm: RhythmSettings = RhythmSettings()
    service: ServiceSettings = ServiceSettings()
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> TransferSettings:
        if self.module.objective != "supervised":
            raise ValueError(
                f"module.objective={self.module.objective} is for python ex_pretrain.py, which pre-trains: leave it out"
            )
        if self.module.encode is not None:
            self._check_encoding()
        if self.model.network is not None:
            check_augmentations(self.module, self.datamodule)
            if self.embeddings.store:
                raise ValueError(
                    f"embeddings.store={self.embeddings.store} and model.network={self.model.network}: "
                    "train a probe on the one, or the other from audio"
                )
            return self
        if self.distillation.logits:
            raise ValueError(
                f"distillation.logits={self.distillation.logits} without a network: a probe has no teacher; name the "
                "student, model.network=NAME or a named config such as short_chunk"
            )
        if self.model.checkpoint_discard_head and self.inference.checkpoint is None:
            raise ValueError(
                "finetune needs weights: model.checkpoint=runs/KEY of a trained network, a file, or "
                "model.pretrained=NAME of a published one"
            )
        usual = DatamoduleSettings()
        for name in CLIPS_ONLY if self.inference.checkpoint is None else ():  # which says what network it is of
            if getattr(self.datamodule, name) != getattr(usual, name):
                raise ValueError(
                    f"datamodule.{name} is about windows of audio, and no network is named: name it, "
                    "model.network=NAME, or the weights to go on from, model.checkpoint=FILE; for a probe, which is "
                    "trained on stored vectors, leave it out"
                )
        if self.trainer.compile:
            raise ValueError("trainer.compile=True is for the blocks of a network; a probe has none: leave it out")
        return self

    def _check_encoding(self) -> None:
        """What is encoded once is of a frozen network and of audio as it is."""
        encode, module, datamodule = f"module.encode={self.module.encode}", self.module, self.datamodule
        if self.model.network is None and self.inference.checkpoint is None:
            raise ValueError(
                f"{encode} needs an encoder: model.checkpoint=runs/KEY of a trained network, a file, or "
                "model.pretrained=NAME of a published one; model.network=NAME alone has random weights"
            )
        if module.freeze != "all":
            raise ValueError(f"{encode} with module.freeze={module.freeze}: what is trained changes; set freeze=all")
        changing = {
            "module.augmentations": module.augmentations,
            "module.mixup_alpha": module.mixup_alpha,
            "datamodule.roll.do": datamodule.roll.do,
            "datamodule.masking.do": datamodule.masking.do,
            "distillation.logits": self.distillation.logits,
        }
        for key, value in changing.items():
            if value:
                raise ValueError(f"{encode} with {key}={value}: each track is encoded once, as it is; leave one out")
        if self.trainer.devices != 1 or self.trainer.num_nodes != 1:
            raise ValueError(f"{encode}: a head takes one process; set trainer.devices=1 and trainer.num_nodes=1")

    @classmethod
    def implied(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The network that weights to start from are of, with its arguments and windows, and no stored embeddings."""
        model = given.get("model", {})
        if given.get("embeddings", {}).get("store") or not (model.get("checkpoint") or model.get("pretrained")):
            return {}
        from experiments.networks.described import settings_of

        heads = not model.get("checkpoint_discard_head")
        return settings_of(model.get("checkpoint"), model.get("pretrained"), heads)

    def as_pretraining(self) -> PretrainSettings:
        """The same as settings of `ex_pretrain.py`, whose commands train, evaluate and apply any network.

        Where no network is named, a checkpoint says which one it is, and that of `ex_pretrain.py` stands for it.
        """
        module = self.module.model_copy(update={"optimizer": self.module.optimizer.over(self.trainer.max_epochs)})
        shared = {
            name: getattr(self, name) for name in PretrainSettings.model_fields if name in type(self).model_fields
        }
        model = self.model if self.model.network else self.model.model_dump(exclude={"network"})
        return PretrainSettings(**(shared | {"module": module, "model": model}))
