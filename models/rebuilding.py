"""From what a file says of its network and front end to the two, with their weights.

A file names classes and arguments. Both are checked before anything is built, and the network's shapes before memory is
taken for it; classes are those of this project, or of modules that the user named.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import frontends, networks
from models.descriptions import check_arguments, check_types
from models.errors import CheckpointError
from models.fit import check_shapes, parameters_at_most
from models.frontends import FrontEnd
from models.layouts import Weights
from models.network import Network

_LONGEST_NAME = 200
_FIRST = "maest"  # the network of files that name none
_OLDER = {"maest:MAEST": "maest", "mlp:MLP": "models.mlp:MLP"}  # how earlier versions named classes
_OLDER_FRONTENDS = ("musicnn", "musicnn_torch")  # of files that hold a fingerprint alone


def names_network(weights: Weights) -> bool:
    """Whether weights say what network they are of."""
    return isinstance(weights.header.get("network"), Mapping)


def class_name(weights: Weights) -> Any:
    """What a file calls the class of its network."""
    header = weights.header
    name = header.get("class", header.get("network_class", _FIRST))
    return _OLDER.get(name, name) if isinstance(name, str) else name


def find_class(name: Any, path: str | Path, allowed: Collection[str]) -> type[Network]:
    """The class that a file names.

    Raises:
        CheckpointError: There is none, or its module is not allowed.
    """
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise CheckpointError(f"{path}: the class of its network is {name!r:.60}, expected a name or module:Class")
    try:
        return networks.find(name, allowed)
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot find its network: {error}") from error


def build_network(
    kind: type[Network],
    arguments: Mapping[str, Any],
    overrides: Mapping[str, Any],
    weights: Weights,
    path: str | Path,
) -> Network:
    """A network with the weights of a file, in `eval()` mode.

    Args:
        kind: Of the network.
        arguments: As the file says.
        overrides: Arguments to change.
        weights: Of the file.
        path: For messages.

    Raises:
        CheckpointError: They do not belong together.
    """
    arguments = {**check_arguments(arguments, str(path)), **overrides}
    check_types(arguments, kind, str(path))
    unknown = [name for name in arguments if name not in inspect.signature(kind).parameters]
    if unknown:
        raise CheckpointError(f"{path}: the network {kind.name} has no argument {', '.join(unknown)}")
    try:
        with torch.device("meta"), parameters_at_most(len(weights.state), str(path)):
            shapes = kind(**arguments).state_dict()  # takes no memory, whatever the description says
        unwritten = {key for key in shapes if key.startswith(weights.absent)}
        check_shapes({key: shapes[key] for key in shapes.keys() - unwritten}, weights.state, kind.name, path)
        network = kind(**arguments)
    except CheckpointError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: cannot build {kind.name} with {arguments}: {error}") from error
    state = network.state_dict()
    network.load_state_dict({**{key: torch.zeros_like(state[key]) for key in unwritten}, **weights.state})
    return network.eval()


def build_frontend(
    metadata: Mapping[str, Any],
    kind: type[Network],
    learned: Mapping[str, Tensor],
    path: str | Path,
    allowed: Collection[str] = (),
) -> FrontEnd:
    """The front end that a file was trained with, in `eval()` mode.

    Args:
        metadata: Of the file; `frontend` is a description (`FrontEnd.description`), a fingerprint in older files, and
            left out where it is the usual one of the network.
        kind: Of the network.
        learned: Tensors of a front end with parameters.
        path: For messages.
        allowed: Modules outside of this project that may be imported.

    Raises:
        CheckpointError: There is no such front end, it makes other features by now, or its tensors do not fit.
    """
    described = metadata.get("frontend")
    try:
        made = _frontend(described, kind, allowed)
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot make its front end: {error}") from error
    expected = described.get("fingerprint") if isinstance(described, Mapping) else None
    if expected is not None and expected != made.fingerprint:
        raise CheckpointError(
            f"{path}: trained on features {expected} of the front end {made.name}, which makes {made.fingerprint} "
            f"with the same arguments now; use the version of it that the network was trained with"
        )
    check_shapes(made.state_dict(), learned, f"the front end {made.name}", path)
    made.load_state_dict(dict(learned))
    return made.eval()


def _frontend(described: Any, kind: type[Network], allowed: Collection[str]) -> FrontEnd:
    if described is None:
        return frontends.build(kind.frontend, allowed, **kind.frontend_arguments)
    if isinstance(described, Mapping):
        arguments = check_arguments(described.get("arguments", {}), described["name"])
        return frontends.build(described["name"], allowed, **arguments)
    usual = map(frontends.build, _OLDER_FRONTENDS)
    frontend = next((one for one in usual if one.fingerprint == described), None)
    if frontend is None:
        raise ValueError(f"features {described!r:.60} are of none that this version has")
    return frontend
