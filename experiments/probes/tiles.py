"""The arithmetic of probes that are trained side by side: one product of a batch with the weights of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from experiments.probes import draws
from experiments.probes.fitted import ProbeConfig, scaled, scaler
from experiments.probes.judging import Judge
from experiments.probes.probing import initial_weights
from experiments.probes.vectors import Split
from experiments.tasks.base import Task

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def shared_input(config: ProbeConfig) -> tuple[bool, float]:
    """Probes with the same scaling and dropout see the same numbers at every step."""
    return config.standardise, config.dropout


@dataclass
class Data:
    """The splits on the device, raw and standardised (computed once, in double)."""

    train: dict[bool, Tensor]
    valid: dict[bool, Tensor]
    targets: Tensor
    references: Tensor
    scalers: dict[bool, tuple[np.ndarray, np.ndarray]]
    judge: Judge


def load(task: Task, train: Split, valid: Split, wanted: set[bool], device: str) -> Data:
    """Put both splits on the device, in every scaling that is `wanted`; scalers see the training split alone."""
    scalers = {standardise: scaler(train.x, standardise) for standardise in wanted}
    x, x_valid = (
        {key: torch.from_numpy(scaled(split.x, *found)).to(device) for key, found in scalers.items()}
        for split in (train, valid)
    )
    y, y_valid = (torch.from_numpy(np.array(split.y)).to(device) for split in (train, valid))
    return Data(x, x_valid, y, y_valid, scalers, Judge(task, valid.y, valid.groups, device))


@dataclass
class Probe:
    """One probe of a tile: its place in the grid, and its best evaluation so far."""

    number: int
    config: ProbeConfig
    value: float = -np.inf
    loss: float = np.inf
    step: int = 0
    waited: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)


class Tile:
    """Weights, gradients and moments of the probes that are still in training, stacked along the first axis."""

    def __init__(self, probes: list[Probe], sizes: Sequence[int], seed: int, device: str, blocks: int = 1) -> None:
        self.probes = probes
        one = initial_weights(sizes, draws.generator(seed), blocks)
        self.weights = {
            name: weight.to(device).expand(len(probes), *weight.shape).clone() for name, weight in one.items()
        }
        self.first = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        self.second = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        self.grads = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        self.deep = "1.weight" in one

    def drop(self, numbers: Sequence[int]) -> None:
        """Leave probes out from now on."""
        if not numbers:
            return
        left = [number for number in range(len(self.probes)) if number not in numbers]
        rows = torch.tensor(left, dtype=torch.long, device=self.weights["0.weight"].device)
        self.probes = [self.probes[number] for number in left]
        for kind in (self.weights, self.first, self.second, self.grads):
            for name in kind:
                kind[name] = kind[name][rows]

    def inputs(self) -> Iterator[tuple[bool, float, slice]]:
        """The distinct inputs and which probes share each."""
        start = 0
        while start < len(self.probes):
            shared, stop = shared_input(self.probes[start].config), start + 1
            while stop < len(self.probes) and shared_input(self.probes[stop].config) == shared:
                stop += 1
            yield *shared, slice(start, stop)
            start = stop

    def first_layer(self, x: Tensor, probes: slice) -> Tensor:
        """`[items, values]` -> `[probes, items, width]`: one product with all their weights side by side."""
        weight, bias = self.weights["0.weight"][probes], self.weights["0.bias"][probes]
        flat = torch.addmm(bias.flatten(), x, weight.flatten(0, 1).t())
        return flat.view(len(x), len(weight), -1).transpose(0, 1)

    def second_layer(self, hidden: Tensor, probes: slice) -> Tensor:
        """`[probes, items, width]` -> `[probes, items, outputs]`."""
        weight, bias = self.weights["1.weight"][probes], self.weights["1.bias"][probes]
        return torch.baddbmm(bias[:, None], hidden, weight.transpose(1, 2))

    def outputs(self, x: Tensor, probes: slice) -> Tensor:
        """Outputs `[probes, items, outputs]`, nothing dropped."""
        hidden = self.first_layer(x, probes)
        return self.second_layer(hidden.relu_(), probes) if self.deep else hidden

    def learn(self, task: Task, data: Data, chosen: np.ndarray, step: int, seed: int) -> None:
        """One step of Adam for every probe."""
        rows = torch.from_numpy(chosen).to(data.targets.device)
        targets, width = data.targets[rows], self.weights["0.weight"].shape[2]
        levels = draws.levels(seed, step, 0, len(rows), width).to(rows.device)
        hidden_levels = None
        if self.deep:
            hidden = self.weights["0.weight"].shape[1]
            hidden_levels = draws.levels(seed, step, 1, len(rows), hidden).to(rows.device)
        gathered = {key: x[rows] for key, x in data.train.items()}
        for standardise, p, probes in self.inputs():
            self.gradients(task, gathered[standardise], targets, (levels, hidden_levels), p, probes)
        self._adam(step + 1)

    def gradients(
        self, task: Task, x: Tensor, targets: Tensor, levels: tuple[Tensor, Tensor | None], p: float, probes: slice
    ) -> None:
        """Fill the gradients of the probes that share an input and a rate of dropout.

        Args:
            task: Loss.
            x: `[items, values]`, scaled, nothing dropped.
            targets: Of the items.
            levels: Draws of the dropout of the input and of the hidden layer.
            p: Rate of dropout.
            probes: Which.
        """
        x, hidden_levels = draws.dropped(x, levels[0], p) if p else x, levels[1]
        inner = self.first_layer(x, probes)
        grads = {name: grad[probes] for name, grad in self.grads.items()}
        if self.deep:
            hidden = inner.relu()
            hidden = draws.dropped(hidden, hidden_levels, p) if p else hidden
            outer = _slope(task, self.second_layer(hidden, probes), targets)
            torch.bmm(outer.transpose(1, 2), hidden, out=grads["1.weight"])
            torch.sum(outer, 1, out=grads["1.bias"])
            slope = torch.ops.aten.threshold_backward(outer @ self.weights["1.weight"][probes], inner, 0.0)
            slope = draws.dropped(slope, hidden_levels, p) if p else slope
        else:
            slope = _slope(task, inner, targets)
        flat = slope.transpose(0, 1).reshape(len(x), -1)
        torch.mm(flat.t(), x, out=grads["0.weight"].view(-1, x.shape[1]))
        torch.sum(flat, 0, out=grads["0.bias"].view(-1))

    def _adam(self, step: int) -> None:
        """Adam with L2 in the gradient; probes of the same rates in one call."""
        rates: dict[tuple[float, float], list[int]] = {}
        for number, probe in enumerate(self.probes):
            rates.setdefault((probe.config.learning_rate, probe.config.l2), []).append(number)
        kinds = (self.weights, self.grads, self.first, self.second)
        for (rate, l2), numbers in rates.items():
            lists = [[kind[name][number] for number in numbers for name in kind] for kind in kinds]
            steps = [torch.tensor(float(step), device=lists[0][0].device)] * len(lists[0])
            torch._fused_adam_(
                *lists,
                [],
                steps,
                lr=rate,
                beta1=BETA1,
                beta2=BETA2,
                weight_decay=l2,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )


def _slope(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """Gradient of every probe's own mean loss by its outputs, `[probes, items, outputs]`.

    The loss is a mean over items, so that of all probes' items together is the mean of theirs: times the number of
    probes it is their sum, and each probe gets the gradient it would have alone.
    """
    n = len(outputs)
    flat = outputs.flatten(0, 1).requires_grad_()
    with torch.enable_grad():
        loss = task.loss(flat, targets.repeat(n, *[1] * (targets.ndim - 1))) * n
    return torch.autograd.grad(loss, flat)[0].view_as(outputs)
