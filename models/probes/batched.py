"""Many probes trained at once: one product of a batch of tracks with the weights of all of them side by side.

Probes that share form and batch size are trained together, as many as the cache of a core allows (on a GPU, the whole
grid). Batches of probes need nothing of one another, so cores or a cluster can share them; a probe agrees with one that
is trained alone up to the rounding of sums.

Form and training are those of Castellon, Donahue and Liang, "Codified audio language modeling learns useful
representations for music information retrieval" (ISMIR 2021): dropout on the input, a linear layer or one hidden layer
of 512, Adam with coupled L2, batches drawn afresh for each step, early stopping on the primary validation metric.
Batches, initial weights and dropout noise depend on the seed alone, not on the configuration (see `rng`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.kernels.products import linear, outer_sum
from models.kernels.subnormals import flushing
from models.probes import rng
from models.probes.apply import scaled, scaler
from models.probes.grids import ProbeConfig

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
BATCH_VALUES = 450_000  # weights of a batch on a CPU: with gradient and both moments they stay in the cache of a core
MOST_BLOCK_SUMS = 9  # probes of a batch that learn a sum of blocks: each has an input of its own
Loss = Callable[[Tensor, Tensor], Tensor]  # outputs `[items, outputs]` and their targets to a mean over items


def batches_of_probes(
    configs: Sequence[ProbeConfig], n_in: int, n_out: int, device: str = "cpu", blocks: int = 1
) -> list[list[int]]:
    """Sort the points of a grid into batches: lists of their numbers, probes of a batch alike in form and batch size.

    Args:
        configs: The grid.
        n_in: Values of a vector, of one block.
        n_out: Outputs of a probe.
        device: Where they will be trained.
        blocks: Of a learned sum.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, config in enumerate(configs):
        shape = (config.hidden or 0, config.batch_size, config.evaluate_every, config.patience, config.max_steps)
        groups.setdefault(shape, []).append(number)
    batches = []
    for (hidden, *_), numbers in groups.items():
        numbers = sorted(numbers, key=lambda number: _input_of(configs[number]))
        weights = hidden * (n_in + n_out) if hidden else n_in * n_out
        size = len(numbers) if device != "cpu" else max(1, BATCH_VALUES // weights)
        size = min(size, MOST_BLOCK_SUMS) if blocks > 1 else size
        batches += [numbers[start : start + size] for start in range(0, len(numbers), size)]
    return batches


def _input_of(config: ProbeConfig) -> tuple[bool, float]:
    """Probes with the same scaling and dropout see the same numbers at every step."""
    return config.standardise, config.dropout


@dataclass(frozen=True)
class TrainedProbe:
    """What became of one point of a grid.

    Attributes:
        config: The point.
        weights: Of the best step, as `models.probes.apply` takes them; none where training failed.
        mean: Of the scaler, float64 `[values]`.
        scale: Of the scaler, float64 `[values]`.
        value: Best score on validation.
        loss: Validation loss at the best step.
        best_step: Where the weights are from.
        stop_step: Where training stopped.
        curve: Score on validation by step.
        failure: Why there are no weights.
    """

    config: ProbeConfig
    weights: Mapping[str, np.ndarray]
    mean: np.ndarray
    scale: np.ndarray
    value: float
    loss: float
    best_step: int
    stop_step: int
    curve: tuple[tuple[int, float], ...]
    failure: str | None = None


@flushing()
@torch.no_grad()
def train_batch(
    configs: Mapping[int, ProbeConfig],
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    n_out: int,
    loss: Loss,
    score: Callable[[Tensor], Tensor],
    seed: int = 0,
    blocks: int = 1,
    device: str = "cpu",
    slope: Loss | None = None,
) -> dict[int, TrainedProbe]:
    """Train a batch of probes; each ends as it would end alone.

    Args:
        configs: Points of a grid by their number, as `batches_of_probes` puts them together.
        train: Vectors `[items, values]`, float32, and targets `[items, ...]` to learn from.
        valid: The same, for early stopping.
        n_out: Outputs of a probe.
        loss: What is minimised.
        score: Outputs on validation `[probes, items, n_out]` to `[probes]`; the larger the better.
        seed: Of weights, batches and dropout.
        blocks: How many vectors stand side by side in a row, for a learned sum of them.
        device: Where the arithmetic is done.
        slope: The derivative of the loss by the outputs, `[..., items, outputs]`, where there is a faster form of it
            than automatic differentiation.

    Returns:
        The results by number.
    """
    scalers = {standardise: scaler(train[0], standardise) for standardise in {c.standardise for c in configs.values()}}
    x, x_valid = (
        {key: torch.from_numpy(scaled(vectors, *one)).to(device) for key, one in scalers.items()}
        for vectors, _ in (train, valid)
    )
    y, y_valid = (torch.from_numpy(np.array(targets)).to(device) for _, targets in (train, valid))
    form = next(iter(configs.values()))
    sizes = [n for n in (train[0].shape[1] // blocks, form.hidden, n_out) if n is not None]
    kind = _BlockSumBatch if blocks > 1 else _Batch
    slope = slope or partial(_slope, loss)
    batch = kind(
        [_Probe(number, config) for number, config in configs.items()], sizes, loss, slope, seed, device, blocks
    )
    results: dict[int, TrainedProbe] = {}

    def end(numbers: list[int], step: int, failed: bool = False) -> None:
        for probe in (batch.probes[number] for number in numbers):
            weights = {} if failed else {name: weight.cpu().numpy() for name, weight in probe.weights.items()}
            lowest = float("inf") if probe.outputs is None else float(loss(probe.outputs, y_valid))
            best = (probe.value, lowest, probe.step, step, tuple(probe.curve))
            failure = diverged(probe.config, step) if failed else None
            scaling = scalers[probe.config.standardise]
            results[probe.number] = TrainedProbe(probe.config, weights, *scaling, *best, failure)
        batch.remove(numbers)

    step = 0
    while True:
        if step % form.evaluate_every == 0:
            end([number for number, probe in enumerate(batch.probes) if probe.waited == form.patience], step)
            end(_evaluate(batch, x_valid, score, step), step, failed=True)
        if step == form.max_steps:
            end(list(range(len(batch.probes))), step)
        if not batch.probes:
            return results
        batch.learn(x, y, rng.batch(seed, step, len(y), form.batch_size), step)
        step += 1


def _evaluate(batch: _Batch, x: Mapping[bool, Tensor], score: Callable[[Tensor], Tensor], step: int) -> list[int]:
    """Score all probes on validation and keep what made new bests; returns the places of those that diverged."""
    by_scaling: dict[bool, list[int]] = {}
    for number, probe in enumerate(batch.probes):
        by_scaling.setdefault(probe.config.standardise, []).append(number)
    broken: list[int] = []
    for standardise, numbers in by_scaling.items():
        outputs = batch.outputs(x[standardise], slice(numbers[0], numbers[-1] + 1))
        finite = torch.isfinite(outputs).flatten(1).all(1).tolist()
        values = score(outputs.nan_to_num(0.0, 0.0, 0.0)).tolist()
        for row, number in enumerate(numbers):
            probe = batch.probes[number]
            if not finite[row]:
                broken.append(number)
                continue
            probe.curve.append((step, values[row]))
            if values[row] > probe.value:
                probe.value, probe.step, probe.waited, probe.outputs = values[row], step, 0, outputs[row].clone()
                probe.weights = {name: weight[number].clone() for name, weight in batch.weights.items()}
            else:
                probe.waited += 1
    return broken


def diverged(config: ProbeConfig, step: int) -> str:
    """Why there is no probe where outputs on validation became infinite."""
    return f"probe ({config.describe()}): outputs not finite at step {step}; lower the learning rate"


@dataclass
class _Probe:
    """One probe of a batch: its place in the grid, and its best evaluation so far."""

    number: int
    config: ProbeConfig
    value: float = -np.inf
    step: int = 0
    waited: int = 0
    outputs: Tensor | None = None  # on validation
    weights: dict[str, Tensor] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)


class _Batch:
    """Weights, gradients and moments of the probes that are still in training, stacked along the first axis."""

    def __init__(
        self,
        probes: list[_Probe],
        sizes: Sequence[int],
        loss: Loss,
        slope: Loss,
        seed: int,
        device: str,
        blocks: int = 1,
    ) -> None:
        self.probes, self.loss, self.slope, self.seed = probes, loss, slope, seed
        one = rng.initial_weights(sizes, rng.generator(seed), blocks)
        self.weights = {
            name: weight.to(device).expand(len(probes), *weight.shape).clone() for name, weight in one.items()
        }
        self.first, self.second, self.grads = (
            {name: torch.zeros_like(weight) for name, weight in self.weights.items()} for _ in range(3)
        )
        self.deep = "1.weight" in one

    def remove(self, numbers: Sequence[int]) -> None:
        """Train some probes no further."""
        if not numbers:
            return
        left = [number for number in range(len(self.probes)) if number not in numbers]
        rows = torch.tensor(left, dtype=torch.long, device=self.weights["0.weight"].device)
        self.probes = [self.probes[number] for number in left]
        for kind in (self.weights, self.first, self.second, self.grads):
            for name in kind:
                kind[name] = kind[name][rows]

    def _inputs(self) -> Iterator[tuple[bool, float, slice]]:
        """The distinct inputs and which probes share each."""
        start = 0
        while start < len(self.probes):
            shared, stop = _input_of(self.probes[start].config), start + 1
            while stop < len(self.probes) and _input_of(self.probes[stop].config) == shared:
                stop += 1
            yield *shared, slice(start, stop)
            start = stop

    def _first_layer(self, x: Tensor, probes: slice) -> Tensor:
        """`[items, values]` -> `[probes, items, width]`: one product with all their weights side by side."""
        weight, bias = self.weights["0.weight"][probes], self.weights["0.bias"][probes]
        flat = linear(x, weight.flatten(0, 1), bias.flatten())
        return flat.view(len(x), len(weight), -1).transpose(0, 1)

    def _second_layer(self, hidden: Tensor, probes: slice) -> Tensor:
        """`[probes, items, width]` -> `[probes, items, outputs]`."""
        weight, bias = self.weights["1.weight"][probes], self.weights["1.bias"][probes]
        if hidden.device.type != "cpu":
            return torch.baddbmm(bias[:, None], hidden, weight.transpose(1, 2))
        return torch.stack([linear(*one) for one in zip(hidden, weight, bias, strict=True)])

    def outputs(self, x: Tensor, probes: slice) -> Tensor:
        """Outputs `[probes, items, outputs]` without dropout."""
        hidden = self._first_layer(x, probes)
        return self._second_layer(hidden.relu_(), probes) if self.deep else hidden

    def learn(self, x: Mapping[bool, Tensor], y: Tensor, items: np.ndarray, step: int) -> None:
        """One step of Adam for every probe, on the same training items of `x`, by scaling, and `y`."""
        rows = torch.from_numpy(items).to(y.device)
        width, hidden = self.weights["0.weight"].shape[2], self.weights["0.weight"].shape[1]
        noise = [
            rng.dropout_noise(self.seed, step, layer, len(rows), values).to(rows.device)
            for layer, values in enumerate((width, hidden)[: 1 + self.deep])
        ]
        targets, gathered = y[rows], {key: vectors[rows] for key, vectors in x.items()}
        for standardise, p, probes in self._inputs():
            self._gradients(gathered[standardise], targets, noise, p, probes)
        self._adam(step + 1)

    def _gradients(self, x: Tensor, targets: Tensor, noise: Sequence[Tensor], p: float, probes: slice) -> None:
        """Fill the gradients of the probes that share an input and a rate of dropout.

        Args:
            x: `[items, values]`, scaled, before dropout.
            targets: Of the items.
            noise: For the dropout of every layer.
            p: Rate of dropout.
            probes: Which.
        """
        x = rng.dropout(x, noise[0], p) if p else x
        inner = self._first_layer(x, probes)
        grads = {name: grad[probes] for name, grad in self.grads.items()}
        if self.deep:
            hidden = inner.relu()
            hidden = rng.dropout(hidden, noise[1], p) if p else hidden
            outer = self.slope(self._second_layer(hidden, probes), targets)
            _sums_of_outer(outer, hidden, grads["1.weight"])
            torch.sum(outer, 1, out=grads["1.bias"])
            slope = torch.ops.aten.threshold_backward(outer @ self.weights["1.weight"][probes], inner, 0.0)
            slope = rng.dropout(slope, noise[1], p) if p else slope
        else:
            slope = self.slope(inner, targets)
        flat = slope.transpose(0, 1).reshape(len(x), -1)
        _sums_of_outer(flat[None], x[None], grads["0.weight"].view(1, -1, x.shape[1]))
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
            constants = {"beta1": BETA1, "beta2": BETA2, "eps": EPSILON, "amsgrad": False, "maximize": False}
            torch._fused_adam_(*lists, [], steps, lr=rate, weight_decay=l2, **constants)


def _sums_of_outer(x: Tensor, y: Tensor, out: Tensor) -> None:
    """`x^T y` of every one of `[probes, items, m]` and `[probes, items, n]`, into `[probes, m, n]`."""
    if x.device.type != "cpu":
        torch.bmm(x.transpose(1, 2), y, out=out)
        return
    for rows, columns, into in zip(x, y, out, strict=True):
        into.copy_(outer_sum(rows, columns))


def _slope(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Gradient of every probe's own mean loss by its outputs, `[probes, items, outputs]`."""
    flat = outputs.flatten(0, 1).requires_grad_()
    with torch.enable_grad():
        total = _total_loss(loss, flat, targets, len(outputs))
    return torch.autograd.grad(total, flat)[0].view_as(outputs)


def _total_loss(loss: Loss, flat: Tensor, targets: Tensor, n: int) -> Tensor:
    """The sum of the losses of `n` probes with outputs `[n * items, outputs]`: each gets the gradient it has alone.

    The loss is a mean over items, so that of all probes' items together is the mean of theirs.
    """
    return loss(flat, targets.repeat(n, *[1] * (targets.ndim - 1))) * n


class _BlockSumBatch(_Batch):
    """Probes on a learned weighted sum of blocks; the weights of the sum, a softmax, are learned with the probe.

    Inputs are the vectors of several blocks side by side. The sum differs from probe to probe, so there is no input to
    be shared: gradients come from automatic differentiation of all probes at once.
    """

    def _gradients(self, x: Tensor, targets: Tensor, noise: Sequence[Tensor], p: float, probes: slice) -> None:
        """Fill the gradients of the probes that share a rate of dropout."""
        leaves = {name: weight[probes].detach().requires_grad_() for name, weight in self.weights.items()}
        with torch.enable_grad():
            outputs = _forward(leaves, x, noise, p)
            loss = _total_loss(self.loss, outputs.flatten(0, 1), targets, len(outputs))
        for name, grad in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
            self.grads[name][probes] = grad

    def outputs(self, x: Tensor, probes: slice) -> Tensor:
        """Outputs `[probes, items, outputs]` without dropout."""
        return _forward({name: weight[probes] for name, weight in self.weights.items()}, x)


def _forward(weights: dict[str, Tensor], x: Tensor, noise: Sequence[Tensor] = (), p: float = 0.0) -> Tensor:
    """`[items, blocks * values]` to `[probes, items, outputs]`."""
    shares = weights["blocks"].softmax(1)
    values = torch.einsum("pl,nld->pnd", shares, x.unflatten(1, (shares.shape[1], -1)))
    for layer in range(1 + ("1.weight" in weights)):
        if layer:
            values = values.relu()
        if p and noise:
            values = rng.dropout(values, noise[layer], p)
        values = torch.baddbmm(weights[f"{layer}.bias"][:, None], values, weights[f"{layer}.weight"].transpose(1, 2))
    return values
