"""LARS: SGD whose step is scaled, tensor by tensor, to the size of the weights (You et al., arXiv 1708.03888)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

TRUST = 1e-3  # of the paper


class LARS(torch.optim.Optimizer):
    """Momentum SGD with layer-wise adaptive rates, algorithm 1 of the paper.

    With weights w, gradient g, weight decay b and momentum m of a tensor:

        rate = trust * |w| / (|g| + b * |w|)
        v = m * v + lr * rate * (g + b * w)
        w = w - v

    The rate is 1 where |w| or |g| is 0, and in groups with `adapt=False`: biases and norms, which are not scaled.

    Args:
        params: Parameters, or groups of such; a group may say `adapt`.
        lr: Learning rate.
        momentum: Share of the last step that stays.
        weight_decay: b.
        trust: Size of a step, in sizes of the weights, at a learning rate of 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = TRUST,
    ) -> None:
        usual = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapt": True}
        super().__init__(params, usual)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; gives what the closure gives."""
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    self._move(weights, weights.grad, group)
        return loss

    def _move(self, weights: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        decay, step = group["weight_decay"], group["lr"]
        if group["adapt"]:
            of_weights, of_gradient = weights.norm(), gradient.norm()
            rate = group["trust"] * of_weights / (of_gradient + decay * of_weights)
            step = step * torch.where((of_weights > 0) & (of_gradient > 0), rate, 1.0)  # no value leaves the device
        change = step * (gradient + decay * weights if decay else gradient)
        state = self.state[weights]
        if "velocity" in state:
            state["velocity"].mul_(group["momentum"]).add_(change)
        else:
            state["velocity"] = change.clone()
        weights.sub_(state["velocity"])
