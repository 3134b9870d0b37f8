"""From settings to the network that a training begins with, and its initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.checkpoint_files import checkpoint_file, digest
from experiments.configs.maest import LENGTHS
from experiments.configs.maest import NETWORK as MAEST
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.messages import say
from experiments.settings import ModelSettings, NormSettings, PretrainSettings
from experiments.tasks import Task
from models.checkpoints import fetch, initialise, read_arguments, read_metadata
from models.frontends import FrontEnd, build
from models.network import Network
from models.network_input import checked_window, own_frontend


def network_class(model: ModelSettings) -> type[Network]:
    """The class of the network that settings name.

    Raises:
        UserError: They name none.
    """
    if model.kind is None:
        raise UserError("no network is named: model.network=NAME")
    return model.kind


def frontend_from(model: ModelSettings) -> FrontEnd:
    """The front end that settings name; else that of the weights to start from, else the network's own.

    What a front end has learned is taken over by `initial`.

    Raises:
        UserError: There is none of that name, or no such checkpoint.
        CheckpointError: The checkpoint cannot be read.
    """
    stated = read_metadata(checkpoint_file(model.checkpoint)).get("frontend") if model.checkpoint else None
    try:
        if model.frontend:
            return build(model.frontend, model.allowed)
        if isinstance(stated, Mapping):
            return build(str(stated.get("name")), model.allowed, **stated.get("arguments", {}))
    except ValueError as error:
        raise UserError(f"model.frontend={model.frontend or stated['name']}: {error}") from error
    return own_frontend(network_class(model))


def fetch_weights(model: ModelSettings, seconds: float | None) -> None:
    """Have the weights that a training starts from, before hours of work on its input: what is missing is said at once.

    Args:
        model: Settings of the network.
        seconds: Of a window; None: the network's own.

    Raises:
        UserError: There is no such checkpoint.
        CheckpointError: A release can be neither found nor downloaded.
    """
    if model.checkpoint:
        checkpoint_file(model.checkpoint)
    elif model.pretrained:
        fetch(model.pretrained, _from_nothing(model, seconds))


def initial(
    settings: PretrainSettings,
    frontend: FrontEnd,
    task: Task,
    n_classes_dist: int | None = None,
    input: str | None = None,
) -> Encoder:
    """Build the network of the settings, in training mode, with random weights or those the settings start from.

    Args:
        settings: Of the experiment; of them `model`, `seed`, and of `datamodule` `clip_length` and `norm`.
        frontend: Of its input.
        task: Of its outputs.
        n_classes_dist: Outputs of its second head, where a teacher gives them; None for as many as the first has.
        input: `features` or `audio`; None: the network's own.

    Raises:
        UserError: The settings do not make a network, or the checkpoint to start from is for another front end.
        CheckpointError: The weights to start from cannot be had or do not fit.
    """
    model, datamodule = settings.model, settings.datamodule
    kind = network_class(model)
    frames = checked_window(kind, frontend, datamodule.clip_length)
    file = checkpoint_file(model.checkpoint) if model.checkpoint else None
    arguments = {
        **model.arguments,
        **kind.derive(frontend, frames, task.n_outputs),
        **({} if n_classes_dist is None else {"n_classes_dist": n_classes_dist}),
        **_inherited(kind, file),
    }
    try:
        network = kind(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"settings of the network: {error}") from error
    checked_window(network, frontend, datamodule.clip_length)
    for head in network.unused_heads():
        head.requires_grad_(False)
    usual = _usual_normalisation(file, frontend)
    weights = f"random, seed {settings.seed}"
    if file or model.pretrained:
        report = initialise(
            network,
            str(file or model.pretrained),
            positions=model.positions,
            discard_head=model.checkpoint_discard_head,
            missing_blocks=model.missing_blocks,
            labels=task.classes,
            frontend=frontend if any(True for _ in frontend.parameters()) else None,
            hint=_from_nothing(model, datamodule.clip_length),
        )
        say(str(report))
        weights = digest(file) if file else str(model.pretrained)
    mean, std = normalisation(datamodule.norm, usual)
    encoder = Encoder.of(network, frontend, task, (mean, std), input, frames, weights)
    network.train()
    return encoder


def normalisation(norm: NormSettings, default: tuple[float, float]) -> tuple[float, float]:
    """Mean and deviation of un-normalised features: the settings', else those of the front end or of a checkpoint."""
    return (
        default[0] if norm.norm_mean is None else norm.norm_mean,
        default[1] if norm.norm_std is None else norm.norm_std,
    )


def _inherited(kind: type[Network], file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    return {name: value for name, value in read_arguments(file).items() if name in kind.inherited}


def _usual_normalisation(file: Path | None, frontend: FrontEnd) -> tuple[float, float]:
    """What the weights to start from are used to, once it is clear that they see the same features."""
    metadata = read_metadata(file) if file else {}
    stated = metadata.get("frontend")
    made_for = stated.get("fingerprint") if isinstance(stated, Mapping) else stated
    if made_for not in (None, frontend.fingerprint):
        raise UserError(
            f"{file}: made for features {made_for}, these are {frontend.fingerprint}; "
            f"give a checkpoint that was trained on such features"
        )
    mean, std = metadata.get("normalisation", (frontend.mean, frontend.std))
    return mean, std


def _from_nothing(model: ModelSettings, seconds: float | None) -> str:
    seconds = seconds or network_class(model).seconds
    named = model.network == MAEST and seconds in LENGTHS
    instead = f"maest_{seconds:g}s_random_weights_pretrain" if named else "model.pretrained=None"
    return f"or start from random weights: {instead}"
