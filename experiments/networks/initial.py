"""From settings to the network that a training begins with, and its initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from experiments.checkpoint_files import checkpoint_file, digest
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.messages import say
from experiments.settings import ModelSettings, PretrainSettings
from experiments.tasks import Task
from models.checkpoints import fetch, initialise, read_arguments, read_metadata
from models.frontends import FrontEnd, build_with
from models.network import Network
from models.network_input import checked_window, own_frontend

FROM_NOTHING = "or start from random weights: model.pretrained=None"


def frontend_from(model: ModelSettings) -> FrontEnd:
    """The front end that settings name; else that of the weights to start from, else the network's own.

    What a front end has learned is taken over by `initial`, which refuses one that the weights are not made for.

    Raises:
        UserError: There is none of that name, it does not take `model.frontend_arguments`, or no such checkpoint.
        CheckpointError: The checkpoint cannot be read.
    """
    stated = read_metadata(checkpoint_file(model.checkpoint), model.kind).get("frontend") if model.checkpoint else None
    name, given = model.frontend, model.frontend_arguments
    try:
        if name:
            return build_with(name, {}, given, model.allowed)
        if isinstance(stated, Mapping):
            name = str(stated.get("name"))
            return build_with(name, stated.get("arguments", {}), given, model.allowed)
        return own_frontend(model.kind, given)
    except ValueError as error:
        setting = "model.frontend_arguments" if given else f"model.frontend={name}"
        raise UserError(f"{setting}: {error}") from error


def fetch_weights(model: ModelSettings) -> None:
    """Have the weights that a training starts from, before hours of work on its input: what is missing is said at once.

    Args:
        model: Settings of the network.

    Raises:
        UserError: There is no such checkpoint.
        CheckpointError: A release can be neither found nor downloaded.
    """
    if model.checkpoint:
        checkpoint_file(model.checkpoint)
    elif model.pretrained:
        fetch(model.pretrained, FROM_NOTHING)


def initial(
    settings: PretrainSettings,
    frontend: FrontEnd,
    task: Task | None,
    n_classes_dist: int | None = None,
    input: str | None = None,
) -> Encoder:
    """Build the network of the settings, in training mode, with random weights or those the settings start from.

    Args:
        settings: Of the experiment; of them `model`, `seed`, and of `datamodule` `clip_length` and `norm`.
        frontend: Of its input.
        task: Of its outputs; None: it has none.
        n_classes_dist: Outputs of its second head, where a teacher gives them; None for as many as the first has.
        input: `features` or `audio`; None: the network's own.

    Raises:
        UserError: The settings do not make a network, or the checkpoint to start from is for another front end.
        CheckpointError: The weights to start from cannot be had or do not fit.
    """
    model, datamodule = settings.model, settings.datamodule
    kind = model.kind
    frames = checked_window(kind, frontend, datamodule.clip_length)
    file = checkpoint_file(model.checkpoint) if model.checkpoint else None
    arguments = {
        **model.arguments,
        **kind.derive(frontend, frames, task.n_outputs if task else 0),
        **({} if n_classes_dist is None else {"n_classes_dist": n_classes_dist}),
        **({name: value for name, value in read_arguments(file).items() if name in kind.inherited} if file else {}),
    }
    try:
        network = kind(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"settings of the network: {error}") from error
    frames = checked_window(network, frontend, datamodule.clip_length)
    frozen = not all(parameter.requires_grad for parameter in network.parameters())
    for head in network.unused_heads():
        head.requires_grad_(False)
    usual = _usual_normalisation(file, kind, frontend)
    weights = f"random, seed {settings.seed}"
    if file or model.pretrained:
        report = initialise(
            network,
            str(file or model.pretrained),
            positions=model.positions,
            discard_head=model.checkpoint_discard_head,
            missing_blocks=model.missing_blocks,
            labels=task.classes if task else (),
            frontend=frontend if any(True for _ in frontend.parameters()) else None,
            hint=FROM_NOTHING,
        )
        say(str(report))
        weights = digest(file) if file else str(model.pretrained)
    elif frozen:
        say("layers of the network are frozen at random weights: name trained ones in model.checkpoint")
    norm = (datamodule.norm.norm_mean, datamodule.norm.norm_std)
    mean, std = (usual[at] if given is None else given for at, given in enumerate(norm))
    encoder = Encoder.of(network, frontend, task, (mean, std), input, frames, weights)
    network.train()
    return encoder


def _usual_normalisation(file: Path | None, kind: type[Network], frontend: FrontEnd) -> tuple[float, float]:
    """What the weights to start from are used to, once it is clear that they see the same features."""
    metadata = read_metadata(file, kind) if file else {}
    stated = metadata.get("frontend")
    described = stated if isinstance(stated, Mapping) else {}
    made_for = described.get("fingerprint") if described else stated
    if made_for not in (None, frontend.fingerprint):
        theirs, ours = described.get("arguments", {}), frontend.arguments
        other = [name for name in ours if name in theirs and theirs[name] != ours[name]]
        if described.get("name") != frontend.name or not other:
            has, here = f"features {made_for}", f"these are {frontend.fingerprint}"
        else:
            has, here = (", ".join(f"{name}={of[name]}" for name in other) for of in (theirs, ours))
            here = f"these have {here}"
        raise UserError(
            f"{file}: made for {has}, {here}; leave out model.frontend and model.frontend_arguments, or give a "
            f"checkpoint that was trained on such features"
        )
    mean, std = metadata.get("normalisation", (frontend.mean, frontend.std))
    return mean, std
