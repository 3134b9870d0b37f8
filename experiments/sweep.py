"""Many probes trained at once.

Probes that share form and batch size are trained in tiles: one product of a batch with the weights of all probes of the
tile side by side, instead of one product a probe. A tile is as large as the cache of a core allows (on a GPU, as large
as the grid), and tiles need nothing of one another, so cores or a cluster can share them. `probing.fit` trains one
probe alone; a tile agrees with it up to the rounding of sums.

The method is that of Castellon, Donahue and Liang (ISMIR 2021); what is shared is what their procedure shares: batches,
initial weights and dropout draws depend on the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments import draws
from experiments.probes import FittedProbe, ProbeConfig, scaled, scaler
from experiments.probing import Result, checked, diverged, initial_weights
from experiments.tasks.base import Task
from experiments.vectors import Split

TILE_VALUES = 450_000  # weights of a tile on a CPU: with gradient and both moments they stay in the cache of a core
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def tiles(configs: Sequence[ProbeConfig], n_in: int, n_out: int, device: str = "cpu") -> list[list[int]]:
    """Deal the points of a grid into tiles: lists of their numbers, probes of a tile alike in form and batch size."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, config in enumerate(configs):
        shape = (config.hidden or 0, config.batch_size, config.evaluate_every, config.patience, config.max_steps)
        groups.setdefault(shape, []).append(number)
    dealt = []
    for (hidden, *_), numbers in groups.items():
        numbers = sorted(numbers, key=lambda number: _input(configs[number]))
        weights = hidden * (n_in + n_out) if hidden else n_in * n_out
        size = len(numbers) if device != "cpu" else max(1, TILE_VALUES // weights)
        dealt += [numbers[start : start + size] for start in range(0, len(numbers), size)]
    return dealt


def _input(config: ProbeConfig) -> tuple[bool, float]:
    """Probes with the same scaling and dropout see the same numbers at every step."""
    return config.standardise, config.dropout


@dataclass
class _Data:
    """The splits on the device, raw and standardised (computed once, in double)."""

    train: dict[bool, Tensor]
    valid: dict[bool, Tensor]
    targets: Tensor
    references: Tensor
    scalers: dict[bool, tuple[np.ndarray, np.ndarray]]


def _load(train: Split, valid: Split, wanted: set[bool], device: str) -> _Data:
    scalers = {standardise: scaler(train.x, standardise) for standardise in wanted}
    x, x_valid = (
        {key: torch.from_numpy(scaled(split.x, *found)).to(device) for key, found in scalers.items()}
        for split in (train, valid)
    )
    y, y_valid = (torch.from_numpy(np.asarray(split.y)).to(device) for split in (train, valid))
    return _Data(x, x_valid, y, y_valid, scalers)


@dataclass
class _Probe:
    """One probe of a tile: its place in the grid, and its best evaluation so far."""

    number: int
    config: ProbeConfig
    value: float = -np.inf
    loss: float = np.inf
    step: int = 0
    waited: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)


class _Tile:
    """Weights, gradients and moments of the probes that are still in training, stacked along the first axis."""

    def __init__(self, probes: list[_Probe], sizes: Sequence[int], seed: int, device: str) -> None:
        self.probes = probes
        one = initial_weights(sizes, draws.generator(seed))
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
            shared, stop = _input(self.probes[start].config), start + 1
            while stop < len(self.probes) and _input(self.probes[stop].config) == shared:
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

    def learn(self, task: Task, data: _Data, chosen: np.ndarray, step: int, seed: int) -> None:
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
            x = draws.dropped(gathered[standardise], levels, p) if p else gathered[standardise]
            self._gradients(task, x, targets, hidden_levels, p, probes)
        self._adam(step + 1)

    def _gradients(
        self, task: Task, x: Tensor, targets: Tensor, hidden_levels: Tensor | None, p: float, probes: slice
    ) -> None:
        inner = self.first_layer(x, probes)
        grads = {name: grad[probes] for name, grad in self.grads.items()}
        if self.deep:
            dropping = p > 0 and hidden_levels is not None
            active = inner > 0
            if dropping:
                active &= hidden_levels >= round(p * draws.LEVELS)
            factor = 1 / (1 - p)
            hidden = torch.where(active, inner, 0.0).mul_(factor)
            outer = _slope(task, self.second_layer(hidden, probes), targets)
            torch.bmm(outer.transpose(1, 2), hidden, out=grads["1.weight"])
            torch.sum(outer, 1, out=grads["1.bias"])
            slope = torch.where(active, outer @ self.weights["1.weight"][probes], 0.0).mul_(factor)
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


@torch.no_grad()
def train_tile(
    task: Task, train: Split, valid: Split, configs: Mapping[int, ProbeConfig], seed: int, device: str = "cpu"
) -> dict[int, Result]:
    """Train the probes of a tile; each ends as `probing.fit` would end it alone.

    Args:
        task: Loss and metrics.
        train: Vectors and targets to learn from.
        valid: Vectors and targets for early stopping.
        configs: Points of a grid by their number, alike in form, batch size and patience, in the order of `tiles`.
        seed: Of weights, batches and masks.
        device: Where the arithmetic is done.

    Returns:
        The results by number.

    Raises:
        UserError: The splits do not fit together, or validation cannot be scored.
    """
    checked(task, train, valid)
    data = _load(train, valid, {config.standardise for config in configs.values()}, device)
    form = next(iter(configs.values()))
    sizes = [n for n in (train.x.shape[1], form.hidden, task.n_outputs) if n is not None]
    tile = _Tile([_Probe(number, config) for number, config in configs.items()], sizes, seed, device)
    results: dict[int, Result] = {}

    def end(probes: list[int], step: int) -> None:
        for number in probes:
            probe = tile.probes[number]
            weights = {name: weight.cpu().numpy() for name, weight in probe.weights.items()}
            mean, scale = data.scalers[probe.config.standardise]
            found = (probe.value, probe.loss, probe.step, step, tuple(probe.curve))
            fitted = FittedProbe(task, probe.config, seed, weights, mean, scale, dict(train.features), *found)
            results[probe.number] = Result(probe.config, fitted)
        tile.drop(probes)

    step = 0
    while True:
        if step % form.evaluate_every == 0:
            end([number for number, probe in enumerate(tile.probes) if probe.waited == form.patience], step)
            results |= _evaluate(tile, task, data, step)
        if step == form.max_steps:
            end(list(range(len(tile.probes))), step)
        if not tile.probes:
            return results
        tile.learn(task, data, draws.batch(seed, step, len(train.x), form.batch_size), step, seed)
        step += 1


def _evaluate(tile: _Tile, task: Task, data: _Data, step: int) -> dict[int, Result]:
    """Score all probes on validation and keep the weights of those that were never better; give back what diverged."""
    by_scaling: dict[bool, list[int]] = {}
    for number, probe in enumerate(tile.probes):
        by_scaling.setdefault(probe.config.standardise, []).append(number)
    broken: list[int] = []
    for standardise, numbers in by_scaling.items():
        outputs = tile.outputs(data.valid[standardise], slice(numbers[0], numbers[-1] + 1))
        finite = torch.isfinite(outputs).flatten(1).all(1).tolist()
        values = task.primary_scores(outputs.nan_to_num(0.0, 0.0, 0.0), data.references).tolist()
        for row, number in enumerate(numbers):
            if finite[row]:
                _see(tile, number, step, values[row], partial(task.loss, outputs[row], data.references))
            else:
                broken.append(number)
    probes = [tile.probes[number] for number in broken]
    tile.drop(broken)
    return {probe.number: Result(probe.config, None, diverged(probe.config, step)) for probe in probes}


def _see(tile: _Tile, number: int, step: int, value: float, loss: Callable[[], Tensor]) -> None:
    """Keep a strictly better evaluation, count another."""
    probe = tile.probes[number]
    probe.curve.append((step, value))
    if value > probe.value:
        probe.value, probe.loss, probe.step, probe.waited = value, float(loss()), step, 0
        probe.weights = {name: weight[number].clone() for name, weight in tile.weights.items()}
    else:
        probe.waited += 1
