"""Weights in and out: initial weights from published files, and networks saved so that they rebuild themselves.

The ladder: `fetch` a published file, `open_weights` of any layout, `initialise` a network with them; `save_network` for
our own files; `load_checkpoint` for whatever is at hand: network, front end and what is known of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from models import networks, published_taggers
from models.descriptions import check_arguments, check_metadata, fitting_metadata
from models.download import fetch, weights_dir
from models.errors import CheckpointError
from models.frontends import FrontEnd
from models.initial_weights import LoadReport, State, fit_by_name
from models.layouts import FRONTEND, HEADER, Weights, read_weights, write_safetensors
from models.maest.ast_layout import has_layout
from models.maest.huggingface import is_folder, read_huggingface
from models.network import Network
from models.rebuilding import build_frontend, build_network, class_name, find_class, names_network
from models.releases import RELEASES, find

__all__ = [
    "RELEASES",
    "Checkpoint",
    "CheckpointError",
    "LoadReport",
    "describe_file",
    "fetch",
    "initialise",
    "load_any",
    "load_checkpoint",
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
_OF_NETWORK = ("version", "class", "network", "network_class")  # entries that are not metadata


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights is of.

    Attributes:
        network: In `eval()` mode.
        frontend: What its input is made with, in `eval()` mode.
        metadata: What else the file says: `labels`, `task`, `options`, `normalisation`, `frontend`, `licence`, ...
    """

    network: Network
    frontend: FrontEnd
    metadata: dict[str, Any]


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
    network: Network,
    source: str | Path,
    *,
    averaged: bool | None = None,
    discard_head: bool = False,
    labels: Sequence[str] | None = None,
    frontend: FrontEnd | None = None,
    hint: str = "",
    **rules: Any,
) -> LoadReport:
    """Give a network initial weights, in place.

    Args:
        network: Left as it was if anything goes wrong.
        source: Name of a release (downloaded if need be), path of a file, or of a folder in Hugging Face's layout.
        averaged: See `read_weights`.
        discard_head: Take nothing that belongs to the heads.
        labels: Names of the network's classes: where the source names its own, rows of its head go to the classes of
            the same name.
        frontend: Takes what the front end of the source has learned; only one with parameters does.
        hint: See `fetch`.
        rules: Of `Network.fit_weights`.

    Raises:
        CheckpointError: If the weights cannot be had, read or fitted.
    """
    released = str(source) in RELEASES
    path = fetch(str(source), hint) if released else Path(source)
    if not released and not path.exists():
        raise CheckpointError(f"{source} is neither a file nor a release; the releases are {', '.join(RELEASES)}")
    weights = open_weights(path, averaged, exact=False)
    published = _as_published(network, weights, source)
    known = {**(published[2] if published else {}), **metadata_of(weights, source)}
    learned = weights.frontend or (_split(published[1])[1] if published else {})
    theirs = known.get("labels")
    try:
        state, report = network.fit_weights(
            weights.state,
            f"{source} ({weights.layout})",
            discard_head=discard_head,
            absent=weights.absent,
            labels=(theirs, labels) if theirs and labels else None,
            **rules,
        )
    except CheckpointError as error:
        other = _other_network(weights, network)
        if other is None:
            raise
        raise CheckpointError(
            f"{source} holds weights of the network {other}, which do not fit {network.name}: "
            f"choose model.network={other}, or weights of {network.name}"
        ) from error
    for key, change in weights.notes.items():
        report.adapted[key] = f"{change}; {report.adapted[key]}" if key in report.adapted else change
    report.loaded = [key for key in report.loaded if key not in report.adapted]
    if frontend is not None:
        fitted, of_frontend = fit_by_name(learned, frontend.state_dict(), f"{source} (front end)", heads=())
        frontend.load_state_dict(fitted)
        report.loaded += [FRONTEND + key for key in of_frontend.loaded]
    network.load_state_dict(state)
    return report


def load_release(name: str, hint: str = "", **overrides: Any) -> tuple[Network, LoadReport]:
    """A published network with its own number of classes and positions, strictly loaded, in `eval()` mode.

    Args:
        name: One of `RELEASES` that is an audio network; its `metadata` says what else is known.
        hint: See `fetch`.
        overrides: Arguments of the network that change no shape, such as patchout.
    """
    release = find(name)
    if release.network is None:
        raise CheckpointError(f"{name} is an image network: use it as initial weights of another network")
    network = networks.find(release.network)(**{**release.arguments, **overrides})
    report = initialise(network, name, hint=hint)
    return network.eval(), report


def save_network(
    path: str | Path, network: nn.Module, metadata: Mapping[str, Any], frontend: FrontEnd | None = None
) -> None:
    """Write one clean file that rebuilds the network by itself: safetensors with a JSON header.

    Args:
        path: Where to; replaced in one step.
        network: Any `Network` that can be imported by its name.
        metadata: What else belongs to it (labels, task, settings of its training); plain JSON values.
        frontend: What its input is made with: its description becomes metadata, and what it has learned is kept.

    Raises:
        CheckpointError: The network cannot be rebuilt from a file.
    """
    path = Path(path)
    about = {**metadata, **({} if frontend is None else {"frontend": frontend.description})}
    header = {
        "version": _VERSION,
        "class": _importable(network),
        "network": network.hyperparameters,
        "metadata": about,
    }
    learned = {} if frontend is None else frontend.state_dict()
    state = {**network.state_dict(), **{FRONTEND + key: tensor for key, tensor in learned.items()}}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, state, {HEADER: json.dumps(header, allow_nan=False)})


def load_checkpoint(
    path: str | Path, averaged: bool | None = None, allowed: Collection[str] = (), **overrides: Any
) -> Checkpoint:
    """Network, front end and metadata from anything that tells enough.

    That is a file of `save_network`, a Lightning checkpoint whose `hyper_parameters` hold `class` and `network` (its
    arguments; the rest is metadata), a folder or file in the layout of Hugging Face's AST, or a file in a layout that
    a network knows as its published one.

    Args:
        path: The file or folder.
        averaged: See `read_weights`.
        allowed: Modules outside of this project from which classes may be imported.
        overrides: Arguments of the network to change, such as patchout.

    Raises:
        CheckpointError: If the file cannot be read, does not tell what network it is of, or names a class that is not
            allowed.
    """
    weights, network, metadata = _load(path, averaged, allowed, overrides)
    return Checkpoint(network, build_frontend(metadata, type(network), weights.frontend, path, allowed), metadata)


def load_any(
    path: str | Path, averaged: bool | None = None, allowed: Collection[str] = (), **overrides: Any
) -> tuple[Network, dict[str, Any]]:
    """Network and metadata alone; see `load_checkpoint`."""
    return _load(path, averaged, allowed, overrides)[1:]


def describe_file(
    path: str | Path, allowed: Collection[str] = ()
) -> tuple[type[Network], dict[str, Any], dict[str, Any]]:
    """Class, arguments and metadata of the network that a file is of; the network is not built.

    Args:
        path: As of `load_checkpoint`.
        allowed: See there.

    Raises:
        CheckpointError: If it cannot be read, or does not tell.
    """
    kind, arguments, _, metadata = _described(open_weights(path, exact=False), path, allowed)
    return kind, check_arguments(arguments, str(path)), metadata


def read_metadata(path: str | Path, kind: type[Network] | None = None) -> dict[str, Any]:
    """What a file of this suite, or a Hugging Face folder, says of its network besides arguments and weights.

    Args:
        path: As of `load_checkpoint`.
        kind: A network that is to start from it; what tensors in its published layout tell counts, too.

    Raises:
        CheckpointError: If the file cannot be read, or has the published layout but another front end than it.
    """
    weights = open_weights(path, exact=False)
    published = _as_published(kind, weights, path) if kind else None
    return {**(published[2] if published else {}), **metadata_of(weights, path)}


def read_arguments(path: str | Path) -> dict[str, Any]:
    """The arguments of its network that such a file tells; nothing for files of others.

    Raises:
        CheckpointError: If the file cannot be read.
    """
    weights = open_weights(path, exact=False)
    return check_arguments(weights.header["network"], str(path)) if names_network(weights) else {}


def metadata_of(weights: Weights, path: str | Path) -> dict[str, Any]:
    """What weights say of their network besides its arguments; of files of others, what can be understood.

    Raises:
        CheckpointError: If it cannot be so; `path` is named.
    """
    if _is_own(weights):
        return check_metadata(weights.header.get("metadata", {}), str(path))
    entries = {key: value for key, value in weights.header.items() if key not in _OF_NETWORK}
    return check_metadata(entries, str(path)) if names_network(weights) else fitting_metadata(entries)


def _load(
    path: str | Path, averaged: bool | None, allowed: Collection[str], overrides: Mapping[str, Any]
) -> tuple[Weights, Network, dict[str, Any]]:
    weights = open_weights(path, averaged)
    if not _is_own(weights) and "head." in weights.absent:
        raise CheckpointError(f"{path} ({weights.layout}) has no classifier: use it as initial weights")
    kind, arguments, weights, metadata = _described(weights, path, allowed)
    return weights, build_network(kind, arguments, overrides, weights, path), metadata


def _described(
    weights: Weights, path: str | Path, allowed: Collection[str]
) -> tuple[type[Network], Mapping[str, Any], Weights, dict[str, Any]]:
    """Class, arguments, tensors and metadata of weights, whether they name them or a network knows their layout."""
    if _is_own(weights):
        _check_version(weights, path)
    if _is_own(weights) or names_network(weights):
        kind = find_class(class_name(weights), path, allowed)
        return kind, weights.header["network"], weights, metadata_of(weights, path)
    return _published(weights, path)


def _published(weights: Weights, path: str | Path) -> tuple[type[Network], dict[str, Any], Weights, dict[str, Any]]:
    """Class, arguments, tensors and metadata of weights in a layout that a network knows as its published one."""
    for kind in map(networks.find, networks.names()):
        published = _as_published(kind, weights, path)
        if published is not None:
            arguments, state, metadata = published
            own, learned = _split(state)
            known = {**metadata, **published_taggers.metadata_of(Path(path))}
            return kind, arguments, replace(weights, state=own, frontend=learned), known
    raise CheckpointError(
        f"{path} ({weights.layout}) does not tell what network it is of, and has not the tensors of a published "
        f"{' or '.join(networks.names())}: expected a file saved by this suite, a published one of these, or a folder "
        f"in the layout of Hugging Face's AST; otherwise use it as initial weights of a network that you name"
    )


def _as_published(
    kind: type[Network] | Network, weights: Weights, path: str | Path
) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
    """See `Network.from_published`; errors name the file."""
    try:
        return kind.from_published(weights.state)
    except CheckpointError as error:
        raise CheckpointError(f"{path} ({weights.layout}): {error}") from error


def _split(state: State) -> tuple[State, State]:
    """Tensors of the network, and those of its front end."""
    learned = {key.removeprefix(FRONTEND): tensor for key, tensor in state.items() if key.startswith(FRONTEND)}
    return {key: tensor for key, tensor in state.items() if not key.startswith(FRONTEND)}, learned


def _other_network(weights: Weights, network: Network) -> str | None:
    """The network that weights are of, if that can be told and is another one."""
    if names_network(weights):
        name = class_name(weights)
    else:
        try:
            name = _published(weights, "")[0].name
        except CheckpointError:
            return None
    return name if isinstance(name, str) and name not in (network.name, *network.starts_from) else None


def _importable(network: nn.Module) -> str:
    """How a file names the class of a network."""
    kind = type(network)
    if not isinstance(network, Network):
        raise CheckpointError(
            f"{kind.__qualname__} cannot rebuild itself: expected a subclass of models.network.Network"
        )
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise CheckpointError(
            f"{kind.__qualname__} cannot be imported again: define it at the top of a module, "
            f"neither in a script nor in a function"
        )
    return kind.name


def _is_own(weights: Weights) -> bool:
    return {"version", "class", "network"} <= weights.header.keys()


def _check_version(weights: Weights, path: str | Path) -> None:
    version = weights.header["version"]
    if type(version) is not int or version < 1:
        raise CheckpointError(f"{path}: version is {version!r:.60}, expected {_VERSION}; was it changed?")
    if version > _VERSION:
        raise CheckpointError(f"{path} has version {version}, this suite reads {_VERSION}: update the suite")
