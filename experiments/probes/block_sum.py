"""Probes on a learned weighted sum of blocks: the weights of the sum, a softmax, are learned with the probe.

The sum differs from probe to probe, so what `tiles.Tile` shares, one input for many probes, is not there to be shared:
gradients come from automatic differentiation of all probes at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.probes import draws
from experiments.probes.tiles import Tile
from experiments.tasks.base import Task


class BlockTile(Tile):
    """A tile whose inputs are the vectors of several blocks side by side."""

    def gradients(
        self, task: Task, x: Tensor, targets: Tensor, levels: tuple[Tensor, Tensor | None], p: float, probes: slice
    ) -> None:
        """Fill the gradients of the probes that share an input and a rate of dropout; as in `Tile`."""
        leaves = {name: weight[probes].detach().requires_grad_() for name, weight in self.weights.items()}
        with torch.enable_grad():
            outputs = _forward(leaves, x, levels, p)
            flat = outputs.flatten(0, 1)
            loss = task.loss(flat, targets.repeat(len(outputs), *[1] * (targets.ndim - 1))) * len(outputs)
        for name, grad in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
            self.grads[name][probes] = grad

    def outputs(self, x: Tensor, probes: slice) -> Tensor:
        """Outputs `[probes, items, outputs]`, nothing dropped."""
        return _forward({name: weight[probes] for name, weight in self.weights.items()}, x)


def _forward(
    weights: dict[str, Tensor], x: Tensor, levels: tuple[Tensor | None, Tensor | None] = (None, None), p: float = 0.0
) -> Tensor:
    """`[items, blocks * values]` to `[probes, items, outputs]`."""
    shares = weights["blocks"].softmax(1)
    values = torch.einsum("pl,nld->pnd", shares, x.unflatten(1, (shares.shape[1], -1)))
    for layer in range(1 + ("1.weight" in weights)):
        if layer:
            values = values.relu()
        if p and levels[layer] is not None:
            values = draws.dropped(values, levels[layer], p)
        values = torch.baddbmm(weights[f"{layer}.bias"][:, None], values, weights[f"{layer}.weight"].transpose(1, 2))
    return values
