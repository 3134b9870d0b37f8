"""Which parameters are trained, by which optimiser and at which rate: freezing, weight decay, layer-wise rates."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from models.network import Network
from models.optim.lars import LARS

Groups = list[dict[str, Any]]

FUSED = ("cuda", "cpu", "mps")  # devices whose optimisers have a fused kernel


def layers(network: Network, wanted: str) -> list[list[str]]:
    """The parameters' names by depth, as a network's `parameter_layers()` has them: its input, its blocks, its heads.

    Args:
        network: Any network.
        wanted: What needs to know, for the message.

    Raises:
        ValueError: The network does not say.
    """
    if not (parts := network.parameter_layers()):
        raise ValueError(f"{wanted}: {type(network).__name__} does not tell its layers; leave this setting out")
    return parts


def freeze(network: Network, first: int | Literal["all"]) -> None:
    """Keep the first layers of a network as they are.

    Args:
        network: Changed in place.
        first: Number of blocks, counted from the input; what comes before them (patches, tokens, positions) is kept as
            well. 0 keeps nothing, "all" everything but the heads.

    Raises:
        ValueError: There are not so many blocks.
    """
    if first == 0:
        return
    parts = layers(network, f"freeze={first}")
    blocks = len(parts) - 2
    if first != "all" and first > blocks:
        raise ValueError(f"freeze={first}: the network has {blocks} blocks; give 0 to {blocks}, or all")
    for part in parts[:-1] if first == "all" else parts[: first + 1]:
        for name in part:
            network.get_parameter(name).requires_grad_(False)


def frozen_to_eval(module: nn.Module) -> None:
    """Put what is frozen as a whole into evaluation mode: it keeps its batch statistics and drops nothing.

    Args:
        module: Changed in place; its parts without parameters, such as a dropout between two layers, stay as they are.
    """
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


def exempt(network: Network) -> set[str]:
    """Names of the parameters that usually do not decay: biases, norms, and the tokens and positions it names."""
    single = {name for name, parameter in network.named_parameters() if parameter.ndim <= 1}
    return single | set(network.no_weight_decay())


def parameter_groups(
    network: Network,
    lr: float,
    weight_decay: float,
    decay_all: bool = True,
    layer_decay: float = 1.0,
    lars: bool = False,
    inputs: nn.Module | None = None,
    objective: nn.Module | None = None,
) -> Groups:
    """Groups for an optimiser, each with its own learning rate and weight decay, the heads' rate first.

    With `layer_decay` the rate of a layer is that factor times the rate of the layer after it; the heads have the full
    rate (Bao et al., BEiT, arXiv 2106.08254, appendix).

    Args:
        network: Its frozen parameters are left out.
        lr: Learning rate of the heads.
        weight_decay: Of the parameters that decay.
        decay_all: Whether all do; else those of `exempt` do not.
        layer_decay: Factor from layer to layer.
        lars: For LARS, which neither scales nor decays those of `exempt`.
        inputs: What comes before the network: a front end may have parameters, which go with the network's input.
        objective: What comes behind it: parameters of an objective go with the heads.

    Raises:
        ValueError: The rates differ by layer, and the network does not tell its layers.
    """
    depth = dict.fromkeys((name for name, _ in network.named_parameters()), 0)
    deepest = 0
    if layer_decay != 1.0:
        parts = layers(network, f"layer_decay={layer_decay}")
        deepest = len(parts) - 1
        depth = {name: deepest - number for number, part in enumerate(parts) for name in part}
    bare = set() if decay_all and not lars else exempt(network)
    chosen = [(depth[name], name in bare, parameter) for name, parameter in network.named_parameters()]
    for module, place in ((inputs, deepest), (objective, 0)):
        for parameter in module.parameters() if module else ():
            chosen.append((place, bool(bare) and parameter.ndim <= 1, parameter))
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for below, is_bare, parameter in chosen:
        if parameter.requires_grad:
            groups.setdefault((below, is_bare), []).append(parameter)
    return [
        {
            "params": groups[below, is_bare],
            "lr": lr * layer_decay**below,
            "weight_decay": 0.0 if is_bare else weight_decay,
            **({"adapt": not is_bare} if lars else {}),
        }
        for below, is_bare in sorted(groups)
    ]


def build(
    name: Literal["adamw", "adam", "sgd", "lars"],
    groups: Groups,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    fused: bool = True,
) -> torch.optim.Optimizer:
    """An optimiser by name.

    Args:
        name: Which one.
        groups: As `parameter_groups` makes them.
        lr: Of groups that do not say theirs.
        weight_decay: Likewise.
        momentum: Of sgd and lars.
        nesterov: Of sgd: look ahead along the momentum.
        fused: Use the fused kernel, seven times faster on a CPU too, where the device has one; LARS has none.
    """
    fused = fused and all(parameter.device.type in FUSED for group in groups for parameter in group["params"])
    if name == "lars":
        return LARS(groups, lr, momentum, weight_decay)
    if name == "sgd":
        return torch.optim.SGD(groups, lr, momentum, weight_decay=weight_decay, nesterov=nesterov, fused=fused)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[name]
    return kind(groups, lr=lr, weight_decay=weight_decay, fused=fused)
