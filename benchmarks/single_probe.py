"""One probe trained alone, as the field does it: what batched probes are measured and checked against.

Form, training and random streams are those of `models.probes.batched`; both agree up to the rounding of sums.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, relu

from experiments.errors import UserError
from experiments.probes.fitted import FittedProbe
from experiments.probes.validation import Evaluator, check_splits
from experiments.probes.vectors import Split
from experiments.tasks.base import Task
from models.probes import rng
from models.probes.apply import scaled, scaler
from models.probes.batched import diverged
from models.probes.grids import ProbeConfig

Drop = Callable[[Tensor, int], Tensor]  # values and the number of their layer to what is left of them


class Diverged(UserError):
    """A probe whose outputs are no longer finite."""


def forward(weights: Mapping[str, Tensor], x: Tensor, drop: Drop = lambda x, layer: x) -> Tensor:
    """Outputs `[tracks, outputs]` of a probe for scaled vectors `[tracks, values]`."""
    if "blocks" in weights:
        x = (weights["blocks"].softmax(0)[:, None] * x.unflatten(1, (len(weights["blocks"]), -1))).sum(1)
    outputs = linear(drop(x, 0), weights["0.weight"], weights["0.bias"])
    if "1.weight" in weights:
        outputs = linear(drop(relu(outputs), 1), weights["1.weight"], weights["1.bias"])
    return outputs


def drop_at(seed: int, step: int, p: float) -> Drop:
    """Dropout of rate `p` with the noise of one step."""

    def drop(x: Tensor, layer: int) -> Tensor:
        return rng.dropout(x, rng.dropout_noise(seed, step, layer, *x.shape).to(x.device), p) if p else x

    return drop


def fit(task: Task, train: Split, valid: Split, config: ProbeConfig, seed: int, device: str = "cpu") -> FittedProbe:
    """Train one probe; deterministic in its arguments.

    Args:
        task: Loss and metrics.
        train: Vectors and targets to learn from; the scaler sees only these.
        valid: Vectors and targets for early stopping.
        config: The point of the grid.
        seed: Of weights, batches and dropout.
        device: Where the arithmetic is done.

    Returns:
        The probe with the weights of its best step. Unless `max_steps` came first, it stopped `evaluate_every *
        (patience + 1)` steps later.

    Raises:
        UserError: The splits do not fit together, or validation cannot be scored.
        Diverged: An output on validation is not finite.
    """
    check_splits(task, train, valid)
    mean, scale = scaler(train.x, config.standardise)
    x, x_valid = (torch.from_numpy(scaled(split.x, mean, scale)).to(device) for split in (train, valid))
    y, y_valid = (torch.from_numpy(np.array(split.y)).to(device) for split in (train, valid))
    sizes = [n for n in (x.shape[1] // train.layers, config.hidden, task.n_outputs) if n is not None]
    initial = rng.initial_weights(sizes, rng.generator(seed), train.layers)
    weights = {name: weight.to(device).requires_grad_() for name, weight in initial.items()}
    adam = torch.optim.Adam(weights.values(), lr=config.learning_rate, weight_decay=config.l2, fused=True)
    evaluator, curve = Evaluator(task, valid.y, valid.groups, device), []
    value, loss, best_step, waited, kept = -np.inf, np.inf, 0, 0, {}
    for step in itertools.count():
        if step % config.evaluate_every == 0:
            if waited == config.patience:
                break
            with torch.no_grad():
                outputs = forward(weights, x_valid)
            if not torch.isfinite(outputs).all():
                raise Diverged(diverged(config, step))
            if valid.groups:
                now = float(evaluator.scores(outputs[None]))
            else:
                now = task.primary_score(task.decode(outputs), valid.y)
            curve.append((step, now))
            waited += 1
            if now > value:
                value, loss, best_step, waited = now, float(task.loss(outputs, y_valid)), step, 0
                kept = {name: weight.detach().clone() for name, weight in weights.items()}
        if step == config.max_steps:
            break
        chosen = torch.from_numpy(rng.batch(seed, step, len(x), config.batch_size)).to(device)
        adam.zero_grad()
        task.loss(forward(weights, x[chosen], drop_at(seed, step, config.dropout)), y[chosen]).backward()
        adam.step()
    arrays = {name: weight.cpu().numpy() for name, weight in kept.items()}
    found = (value, loss, best_step, step, tuple(curve))
    return FittedProbe(task, config, seed, arrays, mean, scale, dict(train.features), *found)
