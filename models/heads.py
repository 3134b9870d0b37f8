"""A classifier from a file of its own, on an encoder that has none, as contrastive encoders are published."""

from __future__ import annotations

import inspect
from pathlib import Path

from models.clmr_layout import head_arguments, read_layout
from models.errors import CheckpointError
from models.initial_weights import check_finite
from models.layouts import read_weights
from models.network import Network


def with_head(network: Network, path: str | Path) -> Network:
    """The network with the classifier of a file in the place of its own, in `eval()` mode.

    Args:
        network: Whose classifier is one linear layer, or one that takes the argument `hidden`.
        path: Of a linear layer, or of two with a ReLU between them, `0` and `2`, under the prefix `model.` or none.

    Raises:
        CheckpointError: The file cannot be read, holds no such layers, or they are of another size than the network's.
    """
    kind, (prefix, *more) = type(network), network.head_prefixes
    weights = read_weights(path)
    found = read_layout(weights.state)
    if not found.head:
        raise CheckpointError(f"{path} ({weights.layout}) holds no head: expected 0.weight, 0.bias and perhaps 2.*")
    check_finite(found.head, str(path))
    try:
        arguments = head_arguments(found.head)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    takes = inspect.signature(kind).parameters
    if more or (arguments["hidden"] and "hidden" not in takes):
        raise CheckpointError(f"{path}: the network {kind.name} takes no head of two layers from a file")
    arguments = {name: value for name, value in arguments.items() if name in takes}
    made = kind(**{**network.hyperparameters, **arguments})
    state = {key: tensor for key, tensor in network.state_dict().items() if not key.startswith(prefix)}
    state |= {prefix + key: tensor for key, tensor in found.head.items()}
    for key, tensor in made.state_dict().items():
        if key not in state or state[key].shape != tensor.shape:
            has = list(state[key].shape) if key in state else "absent"
            name = key.removeprefix(prefix)
            name = name if name[0].isdigit() else f"0.{name}"
            raise CheckpointError(
                f"{path}: its {name} is {has}, expected {list(tensor.shape)} on this {kind.name}; give the head that "
                f"was trained on this encoder"
            )
    made.load_state_dict(state)
    return made.eval()
