"""Small probes on stored vectors: trained, chosen on validation, saved for reuse.

Form and training are those of Castellon, Donahue and Liang, "Codified audio language modeling learns useful
representations for music information retrieval" (ISMIR 2021): dropout on the input, a linear layer or one hidden layer
of 512, Adam with coupled L2, batches drawn afresh for each step, early stopping on the primary validation metric.
Draws depend on the seed alone, not on the configuration (`experiments.probes.draws`). `fit` trains one probe, and is
what `experiments.probes.sweep`, which trains many at once, is checked against.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from datasets.text import pluralize
from experiments.errors import UserError
from experiments.probes import draws
from experiments.probes.fitted import FittedProbe, ProbeConfig, same_origin, scaled, scaler
from experiments.probes.judging import Judge, items
from experiments.probes.vectors import Split
from experiments.tasks.base import Task

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Diverged(UserError):
    """A probe whose outputs are no longer finite."""


def diverged(config: ProbeConfig, step: int) -> str:
    """What is said of a probe whose outputs are no longer finite."""
    return f"probe ({config.describe()}): outputs not finite at step {step}; lower the learning rate"


def checked(task: Task, train: Split, valid: Split) -> None:
    """Refuse splits that do not fit together, and a validation split that cannot be scored.

    Raises:
        UserError: Other origin, other width, or tracks in both; too few tracks in validation, or too few kinds.
    """
    same_origin("training vectors are", train.features, "validation vectors are", valid.features)
    if (train.layers, train.groups is None) != (valid.layers, valid.groups is None) or train.x.shape[1] % train.layers:
        raise UserError(f"{task.name}: training and validation vectors are not laid out alike")
    if train.x.shape[1] != valid.x.shape[1]:
        raise UserError(f"training vectors have {train.x.shape[1]} values, validation vectors {valid.x.shape[1]}")
    shared = set(train.ids) & set(valid.ids)
    if shared:
        raise UserError(
            f"{task.name}: {pluralize(len(shared), 'track')} in training and in validation, e.g. {min(shared)!r}"
        )
    scorable(task, valid)


def scorable(task: Task, valid: Split) -> None:
    """Refuse a validation split that nothing can be chosen by.

    Raises:
        UserError: It has too few items, or too few kinds of answers.
    """
    _, references = items(task, valid)
    try:
        task.primary_score(task.decode(np.zeros((len(references), task.n_outputs), np.float32)), references)
    except UserError as error:
        raise UserError(f"validation split: {error}") from None


def initial_weights(sizes: Sequence[int], generator: Generator, blocks: int = 1) -> dict[str, Tensor]:
    """PyTorch's default for linear layers: uniform within ±1/sqrt(inputs), weights then biases, layer by layer.

    A learned sum of blocks begins as their mean.
    """
    import torch

    weights = {"blocks": torch.zeros(blocks)} if blocks > 1 else {}
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        bound = n_in**-0.5
        weights[f"{layer}.weight"] = torch.empty(n_out, n_in).uniform_(-bound, bound, generator=generator)
        weights[f"{layer}.bias"] = torch.empty(n_out).uniform_(-bound, bound, generator=generator)
    return weights


Drop = Callable[["Tensor", int], "Tensor"]  # values and the number of their layer to what is left of them


def forward(weights: Mapping[str, Tensor], x: Tensor, drop: Drop = lambda x, layer: x) -> Tensor:
    """Outputs `[tracks, outputs]` of a probe for scaled vectors `[tracks, values]`."""
    from torch.nn.functional import linear, relu

    if "blocks" in weights:
        x = (weights["blocks"].softmax(0)[:, None] * x.unflatten(1, (len(weights["blocks"]), -1))).sum(1)
    outputs = linear(drop(x, 0), weights["0.weight"], weights["0.bias"])
    if "1.weight" in weights:
        outputs = linear(drop(relu(outputs), 1), weights["1.weight"], weights["1.bias"])
    return outputs


def drop_at(seed: int, step: int, p: float) -> Drop:
    """Dropout of rate `p` with the draws of one step."""

    def drop(x: Tensor, layer: int) -> Tensor:
        return draws.dropped(x, draws.levels(seed, step, layer, *x.shape).to(x.device), p) if p else x

    return drop


@dataclass
class _Best:
    """The best evaluation so far, and how many have passed since."""

    value: float = -np.inf
    loss: float = np.inf
    step: int = 0
    waited: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def see(self, step: int, value: float, loss: float, weights: Mapping[str, Tensor]) -> None:
        """Keep a strictly better evaluation, count another."""
        if value > self.value:
            self.value, self.loss, self.step, self.waited = value, loss, step, 0
            self.weights = {name: weight.detach().clone() for name, weight in weights.items()}
        else:
            self.waited += 1


def fit(task: Task, train: Split, valid: Split, config: ProbeConfig, seed: int, device: str = "cpu") -> FittedProbe:
    """Train one probe; deterministic in its arguments.

    Args:
        task: Loss and metrics.
        train: Vectors and targets to learn from; the scaler sees only these.
        valid: Vectors and targets for early stopping.
        config: The point of the grid.
        seed: Of weights, batches and masks.
        device: Where the arithmetic is done.

    Returns:
        The probe with the weights of its best step. Unless `max_steps` came first, it stopped `evaluate_every *
        (patience + 1)` steps later.

    Raises:
        UserError: The splits do not fit together, or validation cannot be scored.
        Diverged: An output on validation is not finite.
    """
    import torch

    checked(task, train, valid)
    mean, scale = scaler(train.x, config.standardise)
    x, x_valid = (torch.from_numpy(scaled(split.x, mean, scale)).to(device) for split in (train, valid))
    y, y_valid = (torch.from_numpy(np.array(split.y)).to(device) for split in (train, valid))
    sizes = [n for n in (x.shape[1] // train.layers, config.hidden, task.n_outputs) if n is not None]
    weights = {
        name: weight.to(device).requires_grad_()
        for name, weight in initial_weights(sizes, draws.generator(seed), train.layers).items()
    }
    adam = torch.optim.Adam(weights.values(), lr=config.learning_rate, weight_decay=config.l2, fused=True)
    best, curve, judge = _Best(), [], Judge(task, valid.y, valid.groups, device)
    for step in itertools.count():
        if step % config.evaluate_every == 0:
            if best.waited == config.patience:
                break
            with torch.no_grad():
                outputs = forward(weights, x_valid)
                loss = float(task.loss(outputs, y_valid))
            if not torch.isfinite(outputs).all():
                raise Diverged(diverged(config, step))
            value = float(judge.scores(outputs[None])) if valid.groups else _alone(task, outputs, valid)
            best.see(step, value, loss, weights)
            curve.append((step, value))
        if step == config.max_steps:
            break
        chosen = torch.from_numpy(draws.batch(seed, step, len(x), config.batch_size)).to(device)
        adam.zero_grad()
        task.loss(forward(weights, x[chosen], drop_at(seed, step, config.dropout)), y[chosen]).backward()
        adam.step()
    arrays = {name: weight.cpu().numpy() for name, weight in best.weights.items()}
    found = (best.value, best.loss, best.step, step)
    return FittedProbe(task, config, seed, arrays, mean, scale, dict(train.features), *found, tuple(curve))


def _alone(task: Task, outputs: Tensor, valid: Split) -> float:
    return task.primary_score(task.decode(outputs), valid.y)


@dataclass(frozen=True)
class Result:
    """What became of one point of a grid: a probe, or the reason there is none."""

    config: ProbeConfig
    probe: FittedProbe | None
    failure: str | None = None


@dataclass(frozen=True)
class Choice:
    """The probe that a search ends with.

    Attributes:
        probe: Best on validation.
        tied: Points, itself included, that share its primary metric.
        failed: Points that diverged.
    """

    probe: FittedProbe
    tied: int
    failed: int


def search(
    task: Task,
    train: Split,
    valid: Split,
    configs: Sequence[ProbeConfig],
    seed: int,
    on_result: Callable[[Result], None] | None = None,
    device: str = "cpu",
) -> list[Result]:
    """Train a probe at every point of a grid; one that diverges is recorded and the others go on.

    Args:
        task: Loss and metrics.
        train: As for `fit`.
        valid: As for `fit`; also what `choose` looks at. The test split is not for here.
        configs: The grid.
        seed: The same for every point.
        on_result: Called after each point.
        device: Where the arithmetic is done.

    Returns:
        One result a point, in the order of the grid.
    """
    results = []
    for config in configs:
        try:
            result = Result(config, fit(task, train, valid, config, seed, device))
        except Diverged as error:
            result = Result(config, None, str(error))
        results.append(result)
        if on_result is not None:
            on_result(result)
    return results


def choose(results: Sequence[Result]) -> Choice:
    """Take the largest primary metric on validation, then the smallest validation loss, then the first of the grid.

    Raises:
        UserError: Every point failed; the message quotes the first.
    """
    probes = [result.probe for result in results if result.probe is not None]
    if not probes:
        reason = results[0].failure if results else "the grid is empty"
        raise UserError(f"none of {len(results)} probes could be trained: {reason}")
    best = min(probes, key=lambda probe: (-probe.value, probe.loss))
    tied = sum(probe.value == best.value for probe in probes)
    return Choice(best, tied, len(results) - len(probes))
