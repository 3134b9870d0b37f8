"""Many probes trained at once.

Probes that share form and batch size are trained in tiles: one product of a batch with the weights of all probes of the
tile side by side, instead of one product a probe. A tile is as large as the cache of a core allows (on a GPU, as large
as the grid), and tiles need nothing of one another, so cores or a cluster can share them. `probing.fit` trains one
probe alone; a tile agrees with it up to the rounding of sums.

The method is that of Castellon, Donahue and Liang (ISMIR 2021); what is shared is what their procedure shares: batches,
initial weights and dropout draws depend on the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from experiments.probes import draws
from experiments.probes.block_sum import BlockTile
from experiments.probes.fitted import FittedProbe, ProbeConfig
from experiments.probes.probing import Result, checked, diverged
from experiments.probes.tiles import Data, Probe, Tile, load, shared_input
from experiments.probes.vectors import Split
from experiments.tasks.base import Task

TILE_VALUES = 450_000  # weights of a tile on a CPU: with gradient and both moments they stay in the cache of a core
BLOCK_TILE = 9  # probes of a tile that learn a sum of blocks: each has an input of its own


def tiles(
    configs: Sequence[ProbeConfig], n_in: int, n_out: int, device: str = "cpu", blocks: int = 1
) -> list[list[int]]:
    """Deal the points of a grid into tiles: lists of their numbers, probes of a tile alike in form and batch size.

    Args:
        configs: The grid.
        n_in: Values of a vector, of one block.
        n_out: Outputs of the task.
        device: Where tiles will be trained.
        blocks: Of a learned sum.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, config in enumerate(configs):
        shape = (config.hidden or 0, config.batch_size, config.evaluate_every, config.patience, config.max_steps)
        groups.setdefault(shape, []).append(number)
    dealt = []
    for (hidden, *_), numbers in groups.items():
        numbers = sorted(numbers, key=lambda number: shared_input(configs[number]))
        weights = hidden * (n_in + n_out) if hidden else n_in * n_out
        size = len(numbers) if device != "cpu" else max(1, TILE_VALUES // weights)
        size = min(size, BLOCK_TILE) if blocks > 1 else size
        dealt += [numbers[start : start + size] for start in range(0, len(numbers), size)]
    return dealt


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
    data = load(task, train, valid, {config.standardise for config in configs.values()}, device)
    form = next(iter(configs.values()))
    sizes = [n for n in (train.x.shape[1] // train.layers, form.hidden, task.n_outputs) if n is not None]
    kind = BlockTile if train.layers > 1 else Tile
    tile = kind([Probe(number, config) for number, config in configs.items()], sizes, seed, device, train.layers)
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


def _evaluate(tile: Tile, task: Task, data: Data, step: int) -> dict[int, Result]:
    """Score all probes on validation and keep the weights of those that were never better; give back what diverged."""
    by_scaling: dict[bool, list[int]] = {}
    for number, probe in enumerate(tile.probes):
        by_scaling.setdefault(probe.config.standardise, []).append(number)
    broken: list[int] = []
    for standardise, numbers in by_scaling.items():
        outputs = tile.outputs(data.valid[standardise], slice(numbers[0], numbers[-1] + 1))
        finite = torch.isfinite(outputs).flatten(1).all(1).tolist()
        values = data.judge.scores(outputs.nan_to_num(0.0, 0.0, 0.0)).tolist()
        for row, number in enumerate(numbers):
            if finite[row]:
                _see(tile, number, step, values[row], partial(task.loss, outputs[row], data.references))
            else:
                broken.append(number)
    probes = [tile.probes[number] for number in broken]
    tile.drop(broken)
    return {probe.number: Result(probe.config, None, diverged(probe.config, step)) for probe in probes}


def _see(tile: Tile, number: int, step: int, value: float, loss: Callable[[], Tensor]) -> None:
    """Keep a strictly better evaluation, count another."""
    probe = tile.probes[number]
    probe.curve.append((step, value))
    if value > probe.value:
        probe.value, probe.loss, probe.step, probe.waited = value, float(loss()), step, 0
        probe.weights = {name: weight[number].clone() for name, weight in tile.weights.items()}
    else:
        probe.waited += 1
