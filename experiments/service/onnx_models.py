"""Models of the service that onnxruntime computes: exported networks, without PyTorch in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.inference.predictor import predictor_of
from experiments.service.onnx_encoder import OnnxEncoder, open_encoder
from experiments.service.parts import Parts
from experiments.transfer.settings import TransferSettings

SUFFIX = ".onnx"
EXPORT = "python ex_transfer.py export with {source} export.format=onnx"


def parts_of(settings: TransferSettings) -> Parts:
    """The only exported network that the settings name.

    Raises:
        UserError: It is none, it does not exist, or what is set does not fit it.
        CheckpointError: It cannot be read, or does not say how recordings are cut.
    """
    encoder = open_encoder(_file(settings), settings.inference.threads, settings.model.allowed)
    predictor = None
    if encoder.description["task"] is not None:
        sections = settings.inference, settings.datamodule, settings.rhythm
        predictor = predictor_of(encoder, encoder.logits, *sections)
    return Parts(encoder, predictor, _about(encoder), encoder.decode_file, encoder.embedding)


def _file(settings: TransferSettings) -> Path:
    """The file that the settings name.

    Raises:
        UserError: They name something else.
    """
    inference = settings.inference
    if settings.probe.file is not None:
        raise UserError(
            f"{settings.probe.file} is a probe, which service.engine=onnx does not serve: leave the engine out"
        )
    for name in ("head", "labels"):
        if value := getattr(inference, name):
            raise UserError(
                f"inference.{name}={value}: with service.engine=onnx, a file brings its own; leave it out, or export "
                "the network with it"
            )
    checkpoint, pretrained = inference.checkpoint, settings.model.pretrained
    path = Path(checkpoint or "").expanduser()
    if path.suffix != SUFFIX:
        source = f"inference.checkpoint={checkpoint}" if checkpoint else f"model.pretrained={pretrained}"
        raise UserError(
            f"{checkpoint or pretrained} is no ONNX file, and service.engine=onnx serves no others: export it "
            f"({EXPORT.format(source=source)}), or leave the engine out"
        )
    try:
        if not path.is_file():
            raise UserError(f"{checkpoint}: no such file")
    except OSError as error:
        raise UserError(f"{checkpoint}: cannot be read ({error.strerror})") from None
    return path


def _about(encoder: OnnxEncoder) -> dict[str, Any]:
    properties = encoder.properties
    about: dict[str, Any] = {"licence": properties.get("licence", "unknown"), "weights": encoder.weights}
    if "training" in properties:
        about["training"] = json.loads(properties["training"])
    return about
