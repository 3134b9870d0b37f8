"""From weights to settings: which network they are of, its arguments, its input and its windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from experiments.checkpoint_files import checkpoint_file
from experiments.errors import UserError
from models import networks
from models.checkpoints import CheckpointError, describe_file
from models.frontends import FrontEnd, build
from models.network import Network
from models.network_input import default_window, frames_in, own_frontend
from models.releases import find


def settings_of(checkpoint: str | None, release: str | None, heads: bool = True) -> dict[str, Any]:
    """Settings, nested, of a training that goes on from weights with the same network, front end and windows.

    Args:
        checkpoint: A file, a run's folder or a folder in Hugging Face's layout.
        release: Name of published weights, where there is no checkpoint.
        heads: Whether its classifiers are of the same form, too.

    Raises:
        UserError: There is no such file, or it does not hold a network of this project.
    """
    try:
        if checkpoint:
            kind, arguments, metadata = describe_file(checkpoint_file(checkpoint))
        else:
            released = find(release)
            kind = networks.find(released.network) if released.network else None
            arguments, metadata = dict(released.arguments), released.metadata
    except CheckpointError as error:
        raise UserError(str(error)) from error
    named = f"model.checkpoint={checkpoint}" if checkpoint else f"model.pretrained={release}"
    if kind is None or kind.name not in networks.names():
        what = "weights of an image network" if kind is None else f"a {kind.__name__}, no network that takes audio"
        raise UserError(f"{named} is {what}: give weights of one of {', '.join(networks.names())}")
    left_out = kind.derived if heads else (*kind.derived, *kind.head_arguments)
    chosen = {name: value for name, value in arguments.items() if name not in left_out}
    try:
        return {"model": {"network": kind.name, **chosen}, "datamodule": _input(kind, arguments, metadata)}
    except (TypeError, ValueError) as error:
        raise UserError(f"{named}: it does not describe a network {kind.name}: {error}") from error


def _input(kind: type[Network], arguments: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Input and length of windows, where they are not those that the class has anyway."""
    with torch.device("meta"):
        network = kind(**arguments)
    frontend = _frontend(kind, metadata)
    frames = int(metadata.get("window") or default_window(network, frontend))
    given = {}
    if frames != default_window(kind, frontend) and not kind.fixed_window:
        given["clip_length"] = seconds_of(frames, frontend)
    if metadata.get("input", kind.input) != kind.input:
        given["input"] = metadata["input"]
    return given


def _frontend(kind: type[Network], metadata: Mapping[str, Any]) -> FrontEnd:
    described = metadata.get("frontend")
    if not isinstance(described, Mapping):
        return own_frontend(kind)
    return build(str(described.get("name")), **described.get("arguments", {}))


def seconds_of(frames: int, frontend: FrontEnd) -> float:
    """A length that gives so many frames, `frames_in` the other way round."""
    seconds = frames * frontend.hop / frontend.sample_rate
    return seconds if frames_in(seconds, frontend) == frames else math.nextafter(seconds, math.inf)
