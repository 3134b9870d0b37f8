"""What a trained network is applied to, and what is written of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from experiments.settings.base import Count, Positive, Section, Share
from models.kernels.mode import Mode

Layers = Annotated[list[str], Field(min_length=1)]
Join = Literal["mean", "mean_logits", "median", "max", "vote"]
Blocks = Annotated[list[Count], Field(min_length=1)]


class PredictionSettings(Section):
    """A trained network, and audio that it is applied to."""

    checkpoint: str | None = None  # file, https://..., run's folder or Hugging Face folder; None: a published network
    sha256: str | None = None  # what a checkpoint's file must have, 64 digits; None: anything
    audio: str | None = None  # predict: a file or a folder
    out_dir: str | None = None  # None: of predict, with the run; outputs/embeddings/<folder>-<hash of what made them>
    overwrite: bool = False  # replace what is in out_dir and was made of another network, block or audio
    batch_size: Positive = 16  # windows
    threads: Positive | None = None  # of torch on a CPU; None: torch's own choice, one a core
    kernels: Mode = "auto"  # on a CPU, training too: auto, the fastest exact ones; torch, PyTorch's own alone
    top: Positive | None = None  # classes of a file in the ranking; of tags these are given; None: 10, see thresholds
    threshold: Share | None = None  # tags: probability from which on one is given, the same for all
    thresholds: str | None = None  # tags: the file thresholds.json of an evaluation; None: those of the checkpoint
    argmax: bool = False  # tags: give the most probable one alone
    clicks: bool = False  # beats: write each song with clicks at its beats, too

    @model_validator(mode="after")
    def _one_selection(self) -> PredictionSettings:
        if len(given := selections(self)) > 1:
            raise ValueError(f"{' and '.join(given)}: each says which tags are given; choose one, leave the others out")
        return self

    @model_validator(mode="after")
    def _sum_of_a_file(self) -> Self:
        if self.sha256 is not None and self.checkpoint is None:
            raise ValueError(f"sha256={self.sha256} without checkpoint: name the file or the address that it is of")
        return self


def selections(settings: PredictionSettings) -> list[str]:
    """The settings that say which tags are given, with their values."""
    values = {name: getattr(settings, name) for name in ("top", "threshold", "thresholds", "argmax")}
    return [f"{name}={value}" for name, value in values.items() if value is not None and value is not False]


class ProbePredictionSettings(PredictionSettings):
    """The same where no section `model` names the network."""

    network: str | None = None  # package.module:Class, where a checkpoint is of a network of your own


class InferenceSettings(PredictionSettings):
    """Extraction and prediction with a trained network; without a checkpoint, that of model.pretrained."""

    head: str | None = None  # file or https://...[#sha256=...] of a classifier, for an encoder without one
    random_weights: bool = False  # a network of the settings in `model` as it is before training, to compare with
    transformer_block: Count | Blocks | None = None  # layer by number from 0, several as a list: 6 is layer=block_06
    layer: str | Layers | None = None  # several as a list, or all; None: the network's own, of MAEST the middle one
    join: Join | None = None  # predict, evaluate: of a track's windows; None: the mean, of tempo_regression the median
    windows: Positive | None = None  # of a track, evenly spread, 1: at the centre; None: the network's own rule
    hop: Annotated[float, Field(gt=0)] | None = None  # s between windows; beside stores, a last one ends with the track
    half_overlapped_inference: bool = False  # windows begin at half of the one before
    fit_thresholds: bool = False  # evaluate: fit them on the validation split first, and leave thresholds.json
    scheduler: str | None = None  # extraction: of a Dask cluster, whose workers compute, tcp://host:port
    labels: str | None = None  # where weights carry none: magnatagatune, msd, jamendo, or a text, JSON or checkpoint

    @property
    def places(self) -> dict[str, Any]:
        """Where windows lie, as `Encoder.windowing_of` takes it."""
        return {"windows": self.windows, "hop": self.hop, "overlapped": self.half_overlapped_inference}

    @model_validator(mode="after")
    def _head_of_an_encoder(self) -> InferenceSettings:
        if self.head is not None and (self.checkpoint is None or self.random_weights):
            raise ValueError(f"head={self.head} without checkpoint: name the encoder that it was trained on")
        return self

    @model_validator(mode="after")
    def _fitted_are_used(self) -> InferenceSettings:
        if self.fit_thresholds and (given := selections(self)):
            raise ValueError(f"fit_thresholds=True and {given[0]}: the tags are given by what is fitted; choose one")
        return self

    @model_validator(mode="after")
    def _one_layer(self) -> InferenceSettings:
        if self.layer is not None and self.transformer_block is not None:
            both = f"layer={self.layer} and transformer_block={self.transformer_block}"
            raise ValueError(f"{both}: give one, the other None")
        return self


class ExportSettings(Section):
    """A trained network as a file for other programs."""

    format: Literal["onnx", "safetensors", "huggingface", "torch_export"] = "onnx"  # of the file
    path: str | None = None  # None: outputs/exports/<run or release>.<suffix>
    layers: Layers | None = None  # None: inference.layer, or transformer_block
    blocks: Blocks | None = None  # the same of a transformer, counted from 0
    int8: bool = False  # onnx: weights of the linear layers in 8 bits, for onnxruntime on a CPU
    any_length: bool = False  # onnx, torch_export: windows up to the network's length, not of one length
    overwrite: bool = False  # replace the file

    @model_validator(mode="after")
    def _has_it(self) -> ExportSettings:
        if self.int8 and self.format != "onnx":
            raise ValueError(f"int8=True with format={self.format}: 8 bits are for format=onnx")
        for name in ("blocks", "layers", "any_length"):
            if getattr(self, name) and self.format not in ("onnx", "torch_export"):
                raise ValueError(f"{name} with format={self.format}: such a file holds the whole network, leave it out")
        return self
