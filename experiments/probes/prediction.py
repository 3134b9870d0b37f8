"""A kept probe on new audio: audio, front end, encoder, tokens of its blocks, probe, answers."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor, nn

from experiments import networks
from experiments.errors import UserError
from experiments.inference.prediction import System, answer_files, audio_named
from experiments.messages import say
from experiments.probes.fitted import FittedProbe
from experiments.probes.vectors import Reduction, reduction_named
from experiments.settings import PredictionSettings, PretrainSettings, ProbeExperimentSettings, TrainerSettings
from experiments.tracking.run import RunHandle
from experiments.tracks.data import FRONTEND
from experiments.training.trainer import check_accelerator
from experiments.transfer.settings import TransferSettings
from models.descriptions import LARGEST, check_arguments
from models.errors import CheckpointError
from models.fingerprint import fingerprint
from models.frontends import build as build_frontend
from models.releases import RELEASES

DIGEST = "sha256 "  # what the weights of a file are known by, in headers of stores
NEEDED = ("network", "weights", "frontend", "normalisation", "window_frames", "hop_frames", "block")  # of a producer


def predict(settings: TransferSettings | ProbeExperimentSettings, run: RunHandle) -> dict[str, float]:
    """Answer for audio files with the probe in `probe.file`; see `prediction.answer_files` for what is left.

    Raises:
        UserError: No probe or no audio was named, or the encoder is not the one that the probe was trained on.
    """
    if settings.probe.file is None:
        raise UserError(
            "probe.file is not set: name a probe that was kept, probe_*.safetensors in the folder of its run"
        )
    probe = FittedProbe.load(settings.probe.file)
    files = audio_named(settings.inference.audio)
    producer = _producer(probe, settings.probe.file)
    encoder = _encoder(settings, producer)
    check_accelerator(encoder.trainer)
    return answer_files(files, system(probe, encoder, settings.probe.file), encoder, run)


def _producer(probe: FittedProbe, file: str) -> Mapping[str, Any]:
    """What made the vectors that a probe was trained on.

    Raises:
        UserError: It was nothing that can be repeated on audio here.
    """
    producer = _producer_of(probe.features)
    if not _repeatable(probe.features):
        maker = producer.get("encoder") or probe.features.get("reduction")
        raise UserError(
            f"{file}: this probe was trained on {probe.features.get('kind')} of {maker!r}, which are not made of audio "
            "here; predict is for probes on stores of ex_pretrain.py extract_embeddings"
        )
    try:
        check_arguments(producer["network"], file)
        _Producer.model_validate({**producer, "blocks": probe.features.get("blocks", [])})
    except CheckpointError as error:
        raise UserError(str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{file}: its features, {key}: {first['msg']}; was the file changed?") from None
    return producer


class _Producer(BaseModel):
    """What of a producer is used; the rest is only compared."""

    weights: str
    network: dict[str, Any]
    window_frames: int = Field(ge=1, le=LARGEST)
    hop_frames: int = Field(ge=1, le=LARGEST)
    block: int | str | None
    blocks: list[int]


def _repeatable(features: Mapping[str, Any]) -> bool:
    """Whether what vectors were made by can be repeated on audio here."""
    producer = _producer_of(features)
    return features.get("kind") == "embeddings" and all(key in producer for key in NEEDED)


def _producer_of(features: Mapping[str, Any]) -> Mapping[str, Any]:
    producer = features.get("producer")
    return producer if isinstance(producer, Mapping) else {}


def command(script: str, features: Mapping[str, Any], file: Path) -> str | None:
    """The command that applies a kept probe to new audio; None where its vectors are not made of audio here.

    Args:
        script: Of the experiment that trained it.
        features: Of the probe.
        file: It was kept in.
    """
    if not _repeatable(features) or not features["producer"]["weights"].startswith(DIGEST):  # of no file: random
        return None
    own = "" if is_published(features["producer"]["weights"]) else " inference.checkpoint=CHECKPOINT"
    return f"python {script} predict with {shlex.quote(f'probe.file={file}')}{own} inference.audio=AUDIO"


def _encoder(settings: TransferSettings | ProbeExperimentSettings, producer: Mapping[str, Any]) -> PretrainSettings:
    """Settings that load the network which made the vectors: the one that is named, else a published one."""
    given: PredictionSettings = settings.inference
    model = {key: producer["network"][key] for key in networks.PATCHOUT_ALWAYS if producer["network"].get(key)}
    if given.checkpoint is None:
        model["pretrained"] = _release(producer["weights"])
    trainer = getattr(settings, "trainer", TrainerSettings())
    return PretrainSettings.model_validate(
        {
            "inference": given.model_dump(),
            "model": model,
            "trainer": trainer.model_dump(),
            "datamodule": {"jobs": settings.datamodule.jobs},
        }
    )


def is_published(weights: str) -> bool:
    """Whether the weights that a store was made with are those of a published network."""
    return any(weights == DIGEST + release.sha256[:16] for release in RELEASES.values())


def _release(weights: str) -> str:
    """The published network that has these weights.

    Raises:
        UserError: None has.
    """
    for name, release in RELEASES.items():
        if weights == DIGEST + release.sha256[:16]:
            say(f"encoder: {name}")
            return name
    raise UserError(
        f"the probe was trained on embeddings of a network of your own ({weights}): "
        "name it, inference.checkpoint=FILE or the folder of its run"
    )


def system(probe: FittedProbe, encoder: PretrainSettings, file: str) -> System:
    """The encoder and the probe as what answers.

    Args:
        probe: On embeddings.
        encoder: Settings that load its network.
        file: Of the probe, for messages.

    Raises:
        UserError: The network is not the one that the probe was trained on.
    """
    producer = probe.features["producer"]
    found = networks.load(encoder, build_frontend(FRONTEND), classes=False)
    _check(found, producer, encoder.inference.checkpoint or encoder.model.pretrained, file)
    blocks = [int(block) for block in probe.features.get("blocks", [producer["block"]])]
    reduction = reduction_named(probe.features["reduction"])

    def forward(network: nn.Module, x: Tensor) -> Tensor:
        layers = [network.layer_names[block] for block in blocks]
        tokens = network.embed(x, layers)
        return torch.stack([tokens[layer] for layer in layers], dim=1).to(torch.float16)

    return System(
        found,
        probe.task,
        frames=int(producer["window_frames"]),
        hop=int(producer["hop_frames"]),
        forward=forward,
        answer=answering(probe, reduction),
        made={"probe": identity(probe)},
        padded=True,
        last_block=max(blocks),
    )


def answering(probe: FittedProbe, reduction: Reduction) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """What `System.answer` is for a probe: tokens `[windows, blocks, 3, dim]` to answers of windows and of the file.

    A window is answered as a track of one window would be.
    """

    def vector(tokens: np.ndarray) -> np.ndarray:
        return np.concatenate([reduction.vector(tokens[:, at]) for at in range(tokens.shape[1])])

    def answer(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        windows = np.stack([vector(tokens[at : at + 1]) for at in range(len(tokens))])
        answers = probe.predict(np.concatenate([windows, vector(tokens)[None]]))
        return answers[:-1], answers[-1]

    return answer


def identity(probe: FittedProbe) -> str:
    """A name that two equal probes share."""
    weights = {name: array.tobytes().hex() for name, array in sorted(probe.weights.items())}
    scaler = [probe.mean.tolist(), probe.scale.tolist()]
    return fingerprint({"weights": weights, "scaler": scaler, "task": probe.task.name, "options": probe.task.options})


def _check(found: networks.Loaded, producer: Mapping[str, Any], named: str | None, file: str) -> None:
    """Refuse a network that differs in anything from the one whose embeddings a probe was trained on."""
    here = {
        "weights": found.weights,
        "frontend": found.frontend.fingerprint,
        "network": found.description["network"],
        "normalisation": [found.mean, found.std],
    }
    for key, value in here.items():
        was = producer[key]
        if fingerprint({"of": value}) != fingerprint({"of": was}):
            one, other = _difference(was, value)
            raise UserError(
                f"{file}: the probe was trained on embeddings of another encoder: {key} {one}; {named} has {key} "
                f"{other}; name the encoder that made them: inference.checkpoint=FILE"
            )


def _difference(one: Any, other: Any) -> tuple[Any, Any]:
    """Two values; of two dictionaries what differs."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return one, other
    keys: Sequence[str] = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    return {key: one.get(key) for key in keys}, {key: other.get(key) for key in keys}
