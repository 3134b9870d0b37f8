"""Which parameters are trained, by which optimiser and at which rate: freezing, weight decay, layer-wise rates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from experiments.errors import UserError
from experiments.settings import OptimizerSettings
from experiments.training.lars import LARS

Groups = list[dict[str, Any]]

FUSED = ("cuda", "cpu", "mps")  # devices whose optimisers have a fused kernel


def layers(network: nn.Module, wanted: str) -> list[list[str]]:
    """The parameters' names by depth, as a network's `parameter_layers()` has them: its input, its blocks, its heads.

    Args:
        network: Any network.
        wanted: The setting that needs to know, for the message.

    Raises:
        UserError: The network does not say.
    """
    if not (parts := network.parameter_layers()):
        raise UserError(f"{wanted}: {type(network).__name__} does not tell its layers; leave this setting out")
    return parts


def freeze(network: nn.Module, first: int | Literal["all"]) -> None:
    """Keep the first layers of a network as they are.

    Args:
        network: Changed in place.
        first: Number of blocks, counted from the input; what comes before them (patches, tokens, positions) is kept as
            well. 0 keeps nothing, "all" everything but the heads.

    Raises:
        UserError: There are not so many blocks.
    """
    if first == 0:
        return
    parts = layers(network, f"module.freeze={first}")
    blocks = len(parts) - 2
    if first != "all" and first > blocks:
        raise UserError(f"module.freeze={first}: the network has {blocks} blocks; give 0 to {blocks}, or all")
    for part in parts[:-1] if first == "all" else parts[: first + 1]:
        for name in part:
            network.get_parameter(name).requires_grad_(False)


def exempt(network: nn.Module) -> set[str]:
    """Names of the parameters that usually do not decay: biases, norms, and the tokens and positions it names."""
    single = {name for name, parameter in network.named_parameters() if parameter.ndim <= 1}
    return single | set(network.no_weight_decay())


def parameter_groups(
    network: nn.Module,
    settings: OptimizerSettings,
    inputs: nn.Module | None = None,
    objective: nn.Module | None = None,
) -> Groups:
    """Groups for an optimiser, each with its own learning rate and weight decay, the heads' rate first.

    With `layer_decay` the rate of a layer is that factor times the rate of the layer after it; the heads have the full
    rate (Bao et al., BEiT, arXiv 2106.08254, appendix).

    Args:
        network: Its frozen parameters are left out.
        settings: Rate, weight decay, which parameters decay, factor from layer to layer.
        inputs: What comes before the network: a front end may have parameters, which go with the network's input.
        objective: What comes behind it: parameters of an objective go with the heads.

    Raises:
        UserError: Nothing is left to train.
    """
    depth = dict.fromkeys((name for name, _ in network.named_parameters()), 0)
    deepest = 0
    if settings.layer_decay != 1.0:
        parts = layers(network, f"module.optimizer.layer_decay={settings.layer_decay}")
        deepest = len(parts) - 1
        depth = {name: deepest - number for number, part in enumerate(parts) for name in part}
    bare = set() if settings.decay_all and settings.kind != "lars" else exempt(network)
    chosen = [(depth[name], name in bare, parameter) for name, parameter in network.named_parameters()]
    for module, place in ((inputs, deepest), (objective, 0)):
        for parameter in module.parameters() if module else ():
            chosen.append((place, bool(bare) and parameter.ndim <= 1, parameter))
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for below, is_bare, parameter in chosen:
        if parameter.requires_grad:
            groups.setdefault((below, is_bare), []).append(parameter)
    if not groups:
        raise UserError("every parameter of the network is frozen: lower module.freeze")
    return [
        {
            "params": groups[below, is_bare],
            "lr": settings.lr * settings.layer_decay**below,
            "weight_decay": 0.0 if is_bare else settings.weight_decay,
            **({"adapt": not is_bare} if settings.kind == "lars" else {}),
        }
        for below, is_bare in sorted(groups)
    ]


def _adaptive(
    kind: type[torch.optim.Optimizer], groups: Groups, settings: OptimizerSettings, fused: bool
) -> torch.optim.Optimizer:
    return kind(groups, lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)


def _sgd(groups: Groups, settings: OptimizerSettings, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups,
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
        fused=fused,
    )


def _lars(groups: Groups, settings: OptimizerSettings, fused: bool) -> torch.optim.Optimizer:
    return LARS(groups, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)


OPTIMIZERS: dict[str, Callable[[Groups, OptimizerSettings, bool], torch.optim.Optimizer]] = {
    "adamw": partial(_adaptive, torch.optim.AdamW),
    "adam": partial(_adaptive, torch.optim.Adam),
    "sgd": _sgd,
    "lars": _lars,
}


def make_optimizer(
    network: nn.Module,
    settings: OptimizerSettings,
    fused: bool = True,
    inputs: nn.Module | None = None,
    objective: nn.Module | None = None,
) -> torch.optim.Optimizer:
    """The optimiser of the settings over the trainable parameters; LARS leaves biases and norms as SGD has them.

    Args:
        network: Where it is trained.
        settings: Of the optimiser.
        fused: Use the fused kernel, seven times faster on a CPU too, where the device has one.
        inputs: See `parameter_groups`.
        objective: See `parameter_groups`.
    """
    groups = parameter_groups(network, settings, inputs, objective)
    available = all(parameter.device.type in FUSED for group in groups for parameter in group["params"])
    return OPTIMIZERS[settings.kind](groups, settings, fused and available)
