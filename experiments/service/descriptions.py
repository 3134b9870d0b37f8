"""What the service says of its models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from experiments.service.models import ServedModel, identity


class ThresholdsDescription(BaseModel):
    """From which probability on tags are given, where a request says nothing."""

    source: str = Field(description="Where they come from")
    values: dict[str, float]


class ModelDescription(BaseModel):
    """A model: what it predicts, of what it is made, and what it sees."""

    name: str = Field(examples=["tags"])
    task: str | None = Field(description="Null of a network that only gives embeddings", examples=["tagging"])
    kind: str | None = Field(description="tags, class, values or events", examples=["tags"])
    labels: list[str]
    network: str = Field(description="Its class", examples=["fcn"])
    identity: str = Field(description="Equal of models that answer the same")
    weights: str = Field(description="What the weights are known by", examples=["sha256 0123456789abcdef"])
    licence: str = Field(description="Of the weights")
    probe: str | None = Field(description="What the probe is known by, where it is one on the network")
    sample_rate: int = Field(description="Hz of the audio that the network sees")
    window_seconds: float = Field(description="Length of the windows that a file is cut into")
    shortest_seconds: float = Field(description="Shorter audio is padded, or refused where padding makes no sense")
    layers: list[str] = Field(description="Whose embeddings can be had")
    default_layer: str
    tokens: list[str]
    thresholds: ThresholdsDescription | None
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
        kind=task.kind if task else None,
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
