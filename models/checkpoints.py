"""Weights in and out: initial weights from published files, and networks saved so that they rebuild themselves.

The ladder: `fetch` a published file, `open_weights` of any layout, `adapt` them to a network, `initialise` a network in
one call; `save_network` and `load_network` for our own files, `load_any` for whatever is at hand.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.descriptions import check_arguments, check_metadata, check_types, fitting_metadata
from models.download import fetch, weights_dir
from models.errors import CheckpointError
from models.fit import check_shapes, parameters_at_most
from models.layouts import HEADER, Weights, published_settings, read_weights, write_safetensors
from models.maest import MAEST
from models.maest.adapt import FRONT_END, LoadReport, adapt
from models.maest.architectures import build
from models.maest.ast_layout import has_layout
from models.maest.huggingface import is_folder, read_huggingface
from models.releases import RELEASES, find

__all__ = [
    "RELEASES",
    "CheckpointError",
    "LoadReport",
    "adapt",
    "fetch",
    "initialise",
    "load_any",
    "load_network",
    "load_release",
    "metadata_of",
    "open_weights",
    "read_arguments",
    "read_metadata",
    "read_weights",
    "save_network",
    "weights_dir",
]

_VERSION = 1
_DEFAULT_CLASS = "maest:MAEST"
_LONGEST_NAME = 200


def open_weights(path: str | Path, averaged: bool | None = None, exact: bool = True) -> Weights:
    """Weights in any layout: `read_weights`, or `read_huggingface` for what has the layout of Hugging Face's AST.

    Args:
        path: A file, or a folder as `transformers` saves it.
        averaged: See `read_weights`.
        exact: See `read_huggingface`.

    Raises:
        CheckpointError: If it cannot be read.
    """
    if is_folder(path):
        return read_huggingface(path, exact)
    weights = read_weights(path, averaged)
    return read_huggingface(path, exact) if has_layout(weights.state) else weights


def initialise(
    network: MAEST,
    source: str | Path,
    *,
    averaged: bool | None = None,
    positions: str = "stretch",
    discard_head: bool = False,
    missing_blocks: str = "refuse",
    labels: Sequence[str] | None = None,
    hint: str = "",
) -> LoadReport:
    """Gives a network initial weights, in place.

    Args:
        network: Left as it was if anything goes wrong.
        source: Name of a release (downloaded if need be), path of a file, or of a folder in Hugging Face's layout.
        averaged: See `read_weights`.
        positions: See `adapt`.
        discard_head: See `adapt`.
        missing_blocks: See `adapt`.
        labels: Names of the network's classes: where the source names its own, rows of its head go to the classes of
            the same name.
        hint: See `fetch`.

    Raises:
        CheckpointError: If the weights cannot be had, read or fitted.
    """
    released = str(source) in RELEASES
    path = fetch(str(source), hint) if released else Path(source)
    if not released and not path.exists():
        raise CheckpointError(f"{source} is neither a file nor a release; the releases are {', '.join(RELEASES)}")
    weights = open_weights(path, averaged, exact=False)
    theirs = metadata_of(weights, source).get("labels")
    state, report = adapt(
        weights.state,
        network.state_dict(),
        f"{source} ({weights.layout})",
        positions,
        discard_head,
        absent=weights.absent,
        missing_blocks=missing_blocks,
        labels=(theirs, labels) if theirs and labels else None,
    )
    for key, change in weights.notes.items():
        report.adapted[key] = f"{change}; {report.adapted[key]}" if key in report.adapted else change
    report.loaded = [key for key in report.loaded if key not in report.adapted]
    network.load_state_dict(state)
    return report


def load_release(name: str, hint: str = "", **overrides: Any) -> tuple[MAEST, LoadReport]:
    """A published network with its own number of classes and positions, strictly loaded, in `eval()` mode.

    Args:
        name: One of `RELEASES` that is an audio network.
        hint: See `fetch`.
        overrides: Arguments of `MAEST` that change no shape, such as patchout.
    """
    release = find(name)
    if release.architecture is None:
        raise CheckpointError(f"{name} is an image network: use it as initial weights of another architecture")
    network = build(release.architecture, **{**release.settings, **overrides})
    report = initialise(network, name, hint=hint)
    return network.eval(), report


def save_network(path: str | Path, network: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Writes one clean file that rebuilds the network by itself: safetensors with a JSON header.

    Args:
        path: Where to; replaced in one step.
        network: Any network of `models` that keeps its arguments in `hyperparameters`.
        metadata: What else belongs to it (labels, front end, settings of its training); plain JSON values.
    """
    path = Path(path)
    header = {
        "version": _VERSION,
        "class": class_name(network),
        "network": network.hyperparameters,
        "metadata": dict(metadata),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, network.state_dict(), {HEADER: json.dumps(header, allow_nan=False)})


def load_network(path: str | Path, **overrides: Any) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a file written by `save_network`, in `eval()` mode, and its metadata.

    Args:
        path: The file.
        overrides: Arguments of the network to change, such as patchout.

    Raises:
        CheckpointError: If the file is not one of ours.
    """
    weights = read_weights(path)
    if not _is_own(weights):
        raise CheckpointError(f"{path} has no description of its network; use it as initial weights of a named one")
    return _load_own(weights, overrides, path)


def load_any(path: str | Path, averaged: bool | None = None, **overrides: Any) -> tuple[nn.Module, dict[str, Any]]:
    """A network and its metadata from anything that tells enough, in `eval()` mode.

    That is a file of `save_network`, one of our Lightning checkpoints (its `hyper_parameters` hold `network` and, if it
    is not a MAEST, `network_class`; the rest is metadata), a folder or file in the layout of Hugging Face's AST, or a
    file in the published layout of MAEST or PaSST, whose shapes tell the network.

    Raises:
        CheckpointError: If the file cannot be read or does not tell what network it is of.
    """
    weights = open_weights(path, averaged)
    header = weights.header
    if _is_own(weights):
        return _load_own(weights, overrides, path)
    if "head." in weights.absent:
        raise CheckpointError(f"{path} ({weights.layout}) has no classifier: use it as initial weights")
    if _names_network(weights):
        name = header.get("network_class", _DEFAULT_CLASS)
        return _rebuild(name, header["network"], overrides, weights, path), metadata_of(weights, path)
    state = {key: value for key, value in weights.state.items() if not key.startswith(FRONT_END)}
    weights = replace(weights, state=state)
    settings = published_settings(weights.state)
    if settings is None:
        raise CheckpointError(
            f"{path} ({weights.layout}) does not tell what network it is of: expected a file saved by this suite, one "
            f"in the published layout of MAEST, or a folder in that of Hugging Face's AST; otherwise use it as initial "
            f"weights of a named architecture"
        )
    return _rebuild(_DEFAULT_CLASS, settings, overrides, weights, path), {}


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What a file of this suite, or a Hugging Face folder, says of its network besides arguments and weights.

    Raises:
        CheckpointError: If the file cannot be read.
    """
    return metadata_of(open_weights(path, exact=False), path)


def read_arguments(path: str | Path) -> dict[str, Any]:
    """The arguments of its network that such a file tells; nothing for files of others.

    Raises:
        CheckpointError: If the file cannot be read.
    """
    weights = open_weights(path, exact=False)
    return check_arguments(weights.header["network"], str(path)) if _names_network(weights) else {}


def metadata_of(weights: Weights, path: str | Path) -> dict[str, Any]:
    """What weights say of their network besides its arguments; of files of others, what can be understood.

    Raises:
        CheckpointError: If it cannot be so; `path` is named.
    """
    if _is_own(weights):
        return check_metadata(weights.header.get("metadata", {}), str(path))
    entries = {key: value for key, value in weights.header.items() if key not in ("network", "network_class")}
    return check_metadata(entries, str(path)) if _names_network(weights) else fitting_metadata(entries)


def class_name(network: nn.Module) -> str:
    """`module:Class` of a network of `models`, as files name it."""
    kind = type(network)
    if not kind.__module__.startswith("models.") or not hasattr(network, "hyperparameters"):
        raise CheckpointError(
            f"{kind.__qualname__} cannot rebuild itself: expected a network of models/ that keeps its hyperparameters"
        )
    return f"{kind.__module__.split('.')[1]}:{kind.__qualname__}"


def _names_network(weights: Weights) -> bool:
    return _is_own(weights) or isinstance(weights.header.get("network"), Mapping)


def _is_own(weights: Weights) -> bool:
    return {"version", "class", "network"} <= weights.header.keys()


def _load_own(weights: Weights, overrides: Mapping[str, Any], path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    header = weights.header
    if type(header["version"]) is not int or header["version"] < 1:
        raise CheckpointError(f"{path}: version is {header['version']!r:.60}, expected {_VERSION}; was it changed?")
    if header["version"] > _VERSION:
        raise CheckpointError(f"{path} has version {header['version']}, this suite reads {_VERSION}: update the suite")
    metadata = metadata_of(weights, path)
    return _rebuild(header["class"], header["network"], overrides, weights, path), metadata


def _rebuild(
    name: str, settings: Mapping[str, Any], overrides: Mapping[str, Any], weights: Weights, path: str | Path
) -> nn.Module:
    kind = _find_class(name, path)
    arguments = {**check_arguments(settings, str(path)), **overrides}
    check_types(arguments, kind, str(path))
    try:
        with torch.device("meta"), parameters_at_most(len(weights.state), str(path)):
            shapes = kind(**arguments).state_dict()  # takes no memory, whatever the description says
        unwritten = {key for key in shapes if key.startswith(weights.absent)}
        check_shapes({key: shapes[key] for key in shapes.keys() - unwritten}, weights.state, name, path)
        network = kind(**arguments)
    except CheckpointError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: cannot build {name} with {arguments}: {error}") from error
    state = network.state_dict()
    network.load_state_dict({**{key: torch.zeros_like(state[key]) for key in unwritten}, **weights.state})
    return network.eval()


def _find_class(name: Any, path: str | Path) -> type[nn.Module]:
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise CheckpointError(f"{path}: the class of its network is {name!r:.60}, expected module:Class")
    module, _, attribute = name.partition(":")
    try:
        if not module.isidentifier():
            raise ImportError(f"{module!r} is not a module's name")
        kind = getattr(importlib.import_module(f"models.{module}"), attribute)
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise TypeError(f"{attribute!r} is not a network")
    except (ImportError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{path} names the network {name!r}, which this version does not know: {error}"
        ) from error
    return kind
