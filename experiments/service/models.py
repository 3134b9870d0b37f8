"""What is served: networks and kept probes, each with its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.export.cards import card
from experiments.inference.audio_files import decoder_of
from experiments.inference.network_predictor import opened, predictor_with
from experiments.inference.predictor import Predictor
from experiments.inference.selection import selection_of, tag_set
from experiments.probes.fitted import FittedProbe
from experiments.probes.prediction import probe_predictor
from experiments.settings import InferenceSettings
from experiments.transfer.settings import TransferSettings
from models.fingerprint import fingerprint
from models.releases import RELEASES
from models.running import Runner, tokens_of
from models.selection import Selection
from preprocess.attempts import Decode

NAMES = {"tagging": "tags"}  # of the only model of a service, by its task; others are called as their task is
WITHOUT_OUTPUTS = "embeddings"  # the name of an encoder that predicts nothing


@dataclass(frozen=True)
class ServedModel:
    """A network, or a probe on one.

    Attributes:
        name: In addresses.
        encoder: The network.
        predictor: What predicts; None of a network without outputs, which only gives embeddings.
        selection: Which classes are given where a request says nothing; None where the task has none.
        about: What is known of it besides: licence, weights, training.
    """

    name: str
    encoder: Encoder
    predictor: Predictor | None
    selection: Selection | None
    about: Mapping[str, Any]

    @property
    def decode(self) -> Decode:
        """A file to the rows that the network's windows are cut from; it can be sent to another process."""
        return decoder_of(self.encoder)

    @property
    def decoding(self) -> str:
        """Equal of models whose files are decoded to the same rows."""
        frontend = self.encoder.frontend
        return f"audio {frontend.sample_rate}" if self.encoder.audio else frontend.fingerprint

    @property
    def tag_set(self) -> str:
        """Which tags they are, in which order."""
        return tag_set(self.predictor.task.classes) if self.predictor else ""


def open_models(settings: TransferSettings) -> list[ServedModel]:
    """Open everything that the settings name.

    Raises:
        UserError: Nothing is named, something does not exist, or its parts do not fit together; names the model.
        CheckpointError: A checkpoint cannot be had or read.
    """
    service = settings.service
    if not service.models:
        if settings.inference.checkpoint is None and settings.model.pretrained is None and settings.probe.file is None:
            raise UserError(
                "nothing to serve is named: give inference.checkpoint=FILE or a run's folder, probe.file=FILE of a "
                "kept probe, or several by names of your choice, service.models.tags=runs/KEY service.models.key=FILE"
            )
        return [_open(None, settings)]
    return [_named(name, settings) for name in service.models]


def _named(name: str, settings: TransferSettings) -> ServedModel:
    setting = f"service.models.{name}={settings.service.models[name]}"
    try:
        return _open(name, settings_of(name, settings))
    except ValueError as error:  # of settings, checkpoints and probes alike
        raise UserError(f"{setting}: {error}") from None


def settings_of(name: str, settings: TransferSettings) -> TransferSettings:
    """The settings with one of `service.models` as the only network, or probe, that they name."""
    service = settings.service
    source, encoder, head = service.models[name], service.encoders.get(name), service.heads.get(name)
    of_all = {key: getattr(settings.inference, key) for key in ("batch_size", "threads")}
    kept = Path(source).expanduser()
    if FittedProbe.is_kept(kept):
        inference = InferenceSettings(checkpoint=encoder, **of_all)
        return settings.model_copy(
            update={"inference": inference, "probe": settings.probe.model_copy(update={"file": str(kept)})}
        )
    if encoder is not None:
        raise UserError(f"service.encoders.{name}={encoder}: {source} is no probe, which alone needs an encoder")
    released = source in RELEASES
    inference = InferenceSettings(checkpoint=None if released else source, head=head, **of_all)
    return settings.model_copy(
        update={
            "inference": inference,
            "model": settings.model.model_copy(update={"pretrained": source if released else None}),
            "probe": settings.probe.model_copy(update={"file": None}),
        }
    )


def _open(name: str | None, settings: TransferSettings) -> ServedModel:
    """A model; without a name it is called by its task."""
    if settings.probe.file is not None:
        predictor = probe_predictor(settings)
        encoder, about = predictor.encoder, {"probe": predictor.producer["probe"]}
    else:
        pretraining = settings.as_pretraining()
        encoder = opened(pretraining)
        predictor = predictor_with(encoder, pretraining) if encoder.description["task"] else None
        about = {}
    inference = settings.inference
    own = card(encoder, inference.checkpoint, settings.model.pretrained)
    about = {**about, **{key: own[key] for key in ("licence", "weights", "training") if key in own}}
    if predictor is None:
        return ServedModel(name or WITHOUT_OUTPUTS, encoder, None, None, about)
    task = predictor.task
    selection = selection_of(inference, task, predictor.thresholds, encoder.weights)
    return ServedModel(name or NAMES.get(task.name, task.name), encoder, predictor, selection, about)


def embedding_runner(model: ServedModel, layers: tuple[str, ...]) -> Runner:
    """Windows to tokens of these layers."""
    forward: Callable = partial(tokens_of, layers=layers)
    return model.encoder.runner(forward)


def identity(model: ServedModel) -> str:
    """A name that two models share that answer the same."""
    made = model.predictor.made if model.predictor else {"weights": model.encoder.weights, **model.encoder.identity}
    return fingerprint({**made, **(dict(model.predictor.producer) if model.predictor else {})})
