"""From settings to an optimiser, its schedule, and the parameters that are trained."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from experiments.errors import UserError
from experiments.settings import OptimizerSettings
from experiments.training.monitoring import mode_of
from models import optim
from models.network import Network

PLATEAU = "plateau"
NEVER = 2**62  # epochs: Lightning would move a plateau's rate after the epoch's checkpoint is written


def freeze(network: Network, first: int | Literal["all"]) -> None:
    """Keep the first layers of a network as they are; see `models.optim.freeze`.

    Raises:
        UserError: There are not so many blocks, or the network does not tell its layers.
    """
    try:
        optim.freeze(network, first)
    except ValueError as error:
        raise UserError(f"module.{error}") from error


def make_optimizer(
    network: Network,
    settings: OptimizerSettings,
    fused: bool = True,
    inputs: nn.Module | None = None,
    objective: nn.Module | None = None,
) -> torch.optim.Optimizer:
    """The optimiser of the settings over the trainable parameters.

    Args:
        network: Where it is trained.
        settings: Of the optimiser.
        fused: Use a fused kernel where there is one.
        inputs: See `models.optim.parameter_groups`.
        objective: See `models.optim.parameter_groups`.

    Raises:
        UserError: Nothing is left to train, or the network does not tell its layers.
    """
    lr, decay, lars = settings.lr, settings.weight_decay, settings.kind == "lars"
    try:
        groups = optim.parameter_groups(
            network, lr, decay, settings.decay_all, settings.layer_decay, lars, inputs, objective
        )
    except ValueError as error:
        raise UserError(f"module.optimizer.{error}") from error
    if not groups:
        raise UserError("every parameter of the network is frozen: lower module.freeze")
    return optim.build(settings.kind, groups, lr, decay, settings.momentum, settings.nesterov, fused)


def make_schedule(optimizer: torch.optim.Optimizer, settings: OptimizerSettings, monitor: str) -> dict[str, Any]:
    """A schedule as Lightning takes it; that of a plateau is moved by `experiments.training.phases.PhaseSwitch`.

    Args:
        optimizer: Whose rates change.
        settings: Name and lengths of the schedule.
        monitor: The value of a validation that a plateau is about.
    """
    if settings.schedule_mode == PLATEAU:
        scheduler = ReduceLROnPlateau(
            optimizer,
            mode_of(monitor),
            factor=settings.plateau_factor,
            patience=settings.plateau_patience,
            min_lr=[settings.last_lr_value * group["lr"] for group in optimizer.param_groups],
        )
        return {"scheduler": scheduler, "monitor": monitor, "frequency": NEVER}
    factor = optim.SCHEDULES[settings.schedule_mode](
        settings.warm_up_len, settings.ramp_down_start, settings.ramp_down_len, settings.last_lr_value
    )
    interval = "step" if settings.schedule_mode in optim.BY_STEP else "epoch"
    return {"scheduler": LambdaLR(optimizer, factor), "interval": interval}
