"""What a window costs of what the whole network would."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch

from models.network import Network

WORTH_SAYING = 1.2  # times fewer operations


def savings(network: Network, x_shape: Sequence[int], layer: str | None = None) -> str | None:
    """What arguments for inference (patchout) and an early exit leave of the cost of a window; None: little is saved.

    Args:
        network: As it runs.
        x_shape: Of a window, `[frames, *item_shape]`.
        layer: Nothing runs after it (embeddings); None runs to the logits.
    """
    kind, arguments = type(network), network.hyperparameters
    usual = {name: inspect.signature(kind).parameters[name].default for name in kind.adjustable}
    changed = [name for name, value in usual.items() if _plain(arguments[name]) != _plain(value)]
    if not changed and layer in (None, network.layer_names[-1]):
        return None
    whole = network
    if changed:
        with torch.device("meta"):
            whole = kind(**{**arguments, **{name: usual[name] for name in changed}})
    try:
        spent, full = network.macs(x_shape, layer), whole.macs(x_shape)
    except (RuntimeError, NotImplementedError):  # a network that cannot be counted on no data
        return None
    if spent * WORTH_SAYING > full:
        return None
    reasons = [f"{name}={arguments[name]}" for name in changed] + ([f"nothing runs after {layer}"] if layer else [])
    share = spent / full
    return f"{', '.join(reasons)}: {share:.0%} of the operations of the whole network, {1 / share:.1f} times fewer"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
