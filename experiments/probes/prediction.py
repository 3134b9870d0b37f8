"""A kept probe on new audio: audio, front end, encoder, tokens of its layers, probe, predictions."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor

from datasets.vectors import Reduction, reduction_named
from experiments.encoder import UNNAMED, Encoder
from experiments.errors import UserError
from experiments.inference.audio_files import audio_named
from experiments.inference.prediction import predict_files
from experiments.inference.predictor import Predictor
from experiments.messages import say
from experiments.networks.devices import runtime_of
from experiments.networks.opening import block_layers
from experiments.probes.fitted import FittedProbe
from experiments.settings import ProbeExperimentSettings, TrainerSettings
from experiments.tracking import RunHandle
from models import networks
from models.descriptions import LARGEST, check_arguments
from models.errors import CheckpointError
from models.fingerprint import fingerprint
from models.network import Network
from models.own_classes import module_of
from models.releases import RELEASES
from models.running import tokens_of

if TYPE_CHECKING:
    from experiments.transfer.settings import TransferSettings

DIGEST = "sha256 "  # what the weights of a file are known by, in headers of stores
NEEDED = ("network", "weights", "frontend", "normalisation", "window_frames", "hop_frames")  # of a producer
LAYER = ("block", "layer")  # one of these


def predict(settings: TransferSettings | ProbeExperimentSettings, run: RunHandle) -> dict[str, float]:
    """Predict audio files with the probe in `probe.file`; see `experiments.inference.prediction.predict_files`.

    Raises:
        UserError: No probe or no audio was named, or the encoder is not the one that the probe was trained on.
    """
    _check(settings)
    files = audio_named(settings.inference.audio)
    return predict_files(files, probe_predictor(settings), settings.inference, settings.datamodule.jobs, run)


def _check(settings: TransferSettings | ProbeExperimentSettings) -> None:
    """Refuse what no probe is needed to see.

    Raises:
        UserError: No probe was named, or windows, of which a probe sees those that it was trained on.
    """
    if settings.probe.file is None:
        raise UserError(
            "probe.file is not set: name a probe that was kept, probe_*.safetensors in the folder of its run; or a "
            "trained network, inference.checkpoint=FILE, where the experiment trains networks"
        )
    for name in ("windows", "hop", "half_overlapped_inference"):
        if value := getattr(settings.inference, name, None):
            raise UserError(f"inference.{name}={value}: a probe takes windows as in its training; leave it out")


def probe_predictor(settings: TransferSettings | ProbeExperimentSettings) -> Predictor:
    """The probe in `probe.file` on the encoder that it was trained on.

    Raises:
        UserError: No probe was named, or the encoder is not the one that the probe was trained on.
    """
    _check(settings)
    probe = FittedProbe.load(settings.probe.file)
    producer = _producer(probe, settings.probe.file)
    source = settings.inference.checkpoint or _release(producer["weights"])
    if isinstance(settings, ProbeExperimentSettings):
        trainer, network, setting = TrainerSettings(), settings.inference.network, "inference.network"
    else:
        trainer, network, setting = settings.trainer, settings.model.network, "model.network"
    allowed = {module_of(network)} if network and module_of(network) else set()
    encoder = Encoder.load(
        source,
        allowed=allowed,
        sha256=settings.inference.sha256,
        arguments=_adjusted(producer, allowed, setting),
        **runtime_of(trainer, settings.inference.threads),
    )
    check_same(encoder, producer, source, settings.probe.file)
    return predictor_of(probe, encoder)


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
    hop_frames: int | float = Field(gt=0, le=LARGEST)
    block: int | str | None = None
    layer: str | None = None
    blocks: list[int | str]


def _repeatable(features: Mapping[str, Any]) -> bool:
    """Whether what vectors were made by can be repeated on audio here."""
    producer = _producer_of(features)
    named = any(key in producer for key in LAYER)
    return features.get("kind") == "embeddings" and named and all(key in producer for key in NEEDED)


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
    if module_of(name := str(features["producer"].get("class", UNNAMED))):
        own += f" {'model' if script == 'ex_transfer.py' else 'inference'}.network={shlex.quote(name)}"
    return f"python {script} predict with {shlex.quote(f'probe.file={file}')}{own} inference.audio=AUDIO"


def _adjusted(producer: Mapping[str, Any], allowed: Collection[str], setting: str) -> dict[str, Any]:
    """Arguments that are not those of the network's training, as patchout that holds always.

    Raises:
        UserError: Its class cannot be imported, or its module was not named.
    """
    name = str(producer.get("class", UNNAMED))
    if (module := module_of(name)) and module not in allowed:
        raise UserError(
            f"the probe was trained on embeddings of the network {name}, which is only imported where you name it: if "
            f"you trust that module, add {setting}={name}"
        )
    try:
        kind = networks.find(name, allowed)
    except ValueError as error:
        raise UserError(str(error)) from error
    return {name: producer["network"][name] for name in kind.adjustable if producer["network"].get(name)}


def is_published(weights: str) -> bool:
    """Whether the weights that a store was made with are those of a published network."""
    return any(weights == release.identity for release in RELEASES.values())


def _release(weights: str) -> str:
    """The published network that has these weights.

    Raises:
        UserError: None has.
    """
    for name, release in RELEASES.items():
        if weights == release.identity:
            say(f"encoder: {name}")
            return name
    raise UserError(
        f"the probe was trained on embeddings of a network of your own ({weights}): "
        "name it, inference.checkpoint=FILE or the folder of its run"
    )


def predictor_of(probe: FittedProbe, encoder: Encoder) -> Predictor:
    """The encoder and the probe as what predicts.

    Args:
        probe: On embeddings.
        encoder: That made them.
    """
    producer = probe.features["producer"]
    encoder = encoder.fed(producer.get("input") == "audio")
    layers = layers_of_probe(probe.features, encoder)
    return Predictor(
        encoder,
        probe.task,
        encoder.windowing(int(producer["window_frames"]), producer["hop_frames"]),
        encoder.runner(partial(_side_by_side, layers=layers), torch.float16),
        predicting(probe, reduction_named(probe.features["reduction"], encoder.network.token_names)),
        producer={"probe": identity(probe)},
        padded=True,
        last_layer=max(layers, key=encoder.network.layer_names.index),
    )


def layers_of_probe(features: Mapping[str, Any], encoder: Encoder) -> list[str]:
    """The layers that the vectors of a probe are made of, in their order.

    Raises:
        UserError: The network has no such layer.
    """
    producer = features["producer"]
    stored = features.get("blocks") or [producer["layer"] if "layer" in producer else producer["block"]]
    layers = [one if isinstance(one, str) else block_layers(one, encoder, "block")[0] for one in stored]
    encoder.layers(layers)
    return layers


def _side_by_side(network: Network, x: Tensor, layers: Sequence[str]) -> tuple[Tensor]:
    """Tokens `[windows, layers, tokens, dim]`."""
    return (torch.stack(tokens_of(network, x, layers), dim=1),)


def predicting(
    probe: FittedProbe, reduction: Reduction
) -> Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]:
    """What `Predictor.predict` is for a probe: tokens `[windows, layers, tokens, dim]` to predictions.

    A window is predicted as a track of one window would be.
    """

    def vector(tokens: np.ndarray) -> np.ndarray:
        return np.concatenate([reduction.vector(tokens[:, at]) for at in range(tokens.shape[1])])

    def predict(tokens: np.ndarray, starts: np.ndarray, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As `Predictor.predict`."""
        tokens = tokens.astype(np.float32)
        windows = np.stack([vector(tokens[at : at + 1]) for at in range(len(tokens))])
        predictions = probe.predict(np.concatenate([windows, vector(tokens)[None]]))
        return predictions[:-1], predictions[-1]

    return predict


def identity(probe: FittedProbe) -> str:
    """A name that two equal probes share."""
    weights = {name: array.tobytes().hex() for name, array in sorted(probe.weights.items())}
    scaler = [probe.mean.tolist(), probe.scale.tolist()]
    return fingerprint({"weights": weights, "scaler": scaler, "task": probe.task.name, "options": probe.task.options})


def check_same(encoder: Encoder, producer: Mapping[str, Any], named: str, file: str) -> None:
    """Refuse a network that differs in anything from the one whose embeddings a probe was trained on.

    Args:
        encoder: The network.
        producer: Of the embeddings.
        named: What the network was loaded from.
        file: Of the probe.

    Raises:
        UserError: It does.
    """
    identity = encoder.fed(producer.get("input") == "audio").identity
    for key, value in {"weights": encoder.weights, **identity}.items():
        was = producer.get(key)
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
