"""What the service says of its models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from experiments.service.answers import Kind, kind_of
from experiments.service.models import ServedModel, identity


class ThresholdsDescription(BaseModel):
    """From which probability on tags are selected, unless a request says otherwise."""

    source: str = Field(description="Where they come from", examples=["fitted on validation, 1,823 tracks"])
    values: dict[str, float] = Field(description="By tag", examples=[{"guitar": 0.31, "slow": 0.22}])


class ModelDescription(BaseModel):
    """A model: what it predicts, of what it is made, and what it sees."""

    name: str = Field(examples=["tags"])
    task: str | None = Field(description="Null of a network that only gives embeddings", examples=["tagging"])
    kind: Kind | None = Field(description="Of its answers", examples=["tags"])
    labels: list[str] = Field(description="Names of its outputs, in their order", examples=[["guitar", "slow"]])
    network: str = Field(description="Name of its architecture", examples=["fcn"])
    identity: str = Field(description="The same for models that give the same answers", examples=["0123456789abcdef"])
    weights: str = Field(description="What the weights are known by", examples=["sha256 0123456789abcdef"])
    licence: str = Field(description="Of the weights", examples=["CC BY-NC-SA 4.0"])
    probe: str | None = Field(description="What the probe on the network is known by; null where there is none")
    sample_rate: int = Field(description="Of the audio that the network sees, Hz", examples=[16000])
    window_seconds: float = Field(description="Length of the windows that a file is cut into", examples=[29.1])
    shortest_seconds: float = Field(description="Shorter audio is padded, or refused", examples=[3.0])
    layers: list[str] = Field(description="Those that `embed` gives", examples=[["block_06", "block_07"]])
    default_layer: str = Field(description="The one that `embed` gives unless told otherwise", examples=["block_07"])
    tokens: list[str] = Field(description="Names of the embeddings of a layer", examples=[["cls", "dist", "mean"]])
    thresholds: ThresholdsDescription | None = Field(description="Null where the answers are not tags")
    training: dict[str, Any] | None = Field(description="Settings of the training, where they are known")


def description_of(model: ServedModel) -> ModelDescription:
    """What is known of a model."""
    encoder, predictor = model.encoder, model.predictor
    network, frontend = encoder.network, encoder.frontend
    task = predictor.task if predictor else None
    windowing = predictor.windowing if predictor else encoder.windowing()
    thresholds = model.selection.thresholds if model.selection else None
    return ModelDescription(
        name=model.name,
        task=task.name if task else None,
        kind=kind_of(task) if task else None,
        labels=list(task.classes) if task else [],
        network=network.name,
        identity=identity(model),
        weights=encoder.weights,
        licence=model.about["licence"],
        probe=model.about.get("probe"),
        sample_rate=frontend.sample_rate,
        window_seconds=round(windowing.rows / windowing.rate, 3),
        shortest_seconds=round(network.min_frames / frontend.frame_rate, 3),
        layers=list(network.layer_names),
        default_layer=network.default_layer,
        tokens=list(network.token_names),
        thresholds=None
        if thresholds is None
        else ThresholdsDescription(
            source=model.selection.source,
            values=dict(zip(task.classes, (round(value, 5) for value in thresholds), strict=True)),
        ),
        training=model.about.get("training"),
    )
