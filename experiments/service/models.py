"""What is served: networks and kept probes, each with its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from experiments.errors import UserError
from experiments.inference.selection import selection_of, tag_set
from experiments.probes.fitted import FittedProbe
from experiments.service.parts import Parts
from experiments.settings import InferenceSettings
from experiments.transfer.settings import TransferSettings
from models.fingerprint import fingerprint
from models.releases import RELEASES
from models.selection import Selection

NAMES = {"tagging": "tags"}  # of the only model of a service, by its task; others are called as their task is
WITHOUT_OUTPUTS = "embeddings"  # the name of an encoder that predicts nothing


@dataclass(frozen=True)
class ServedModel(Parts):
    """A model with its name.

    Attributes:
        name: In addresses.
        selection: Which classes are given where a request says nothing; None where the task has none.
    """

    name: str
    selection: Selection | None

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
    named = settings.inference.checkpoint or settings.model.pretrained or settings.probe.file
    if not named and not settings.service.models:
        raise UserError(
            "nothing to serve is named: give inference.checkpoint=FILE or a run's folder, probe.file=FILE of a kept "
            "probe, or several by names of your choice, service.models.tags=runs/KEY service.models.key=FILE"
        )
    models = [_open(None, settings)] if named else []
    if models and models[0].name in settings.service.models:
        name = models[0].name
        raise UserError(
            f"service.models.{name} and {named}, which is called {name} too: give it a name, "
            f"service.models.NAME={named}"
        )
    return models + [_named(name, settings) for name in settings.service.models]


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
    if settings.service.engine == "onnx":
        from experiments.service.onnx_models import parts_of
    else:
        from experiments.service.torch_models import parts_of
    parts = parts_of(settings)
    if parts.predictor is None:
        return ServedModel(**vars(parts), name=name or WITHOUT_OUTPUTS, selection=None)
    task = parts.predictor.task
    selection = selection_of(settings.inference, task, parts.predictor.thresholds, parts.encoder.weights)
    return ServedModel(**vars(parts), name=name or NAMES.get(task.name, task.name), selection=selection)


def identity(model: ServedModel) -> str:
    """A name that two models share that answer the same."""
    made = model.predictor.made if model.predictor else {"weights": model.encoder.weights, **model.encoder.identity}
    return fingerprint({**made, **(dict(model.predictor.producer) if model.predictor else {})})
