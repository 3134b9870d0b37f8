"""Probes trained together end as they would alone."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.probing import points, search
from experiments.sweep import tiles, train_tile
from experiments.tasks import Genre, Tagging
from experiments.vectors import Split

VALUES, CLASSES = 24, 5
NAMES = [f"class {number}" for number in range(CLASSES)]
GRID = points(
    standardise=[False, True],
    hidden=[None, 16],
    batch_size=[32, 128],
    learning_rate=[1e-3, 1e-2, 1e-1],
    dropout=[0.25, 0.5, 0.75],
    l2=[0.0, 1e-4, 1e-3],
    evaluate_every=[2],
    patience=[3],
    max_steps=[40],
)


def genre(name: str, n: int, seed: int) -> Split:
    """One class a track; the last value is constant."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    x = rng.normal(size=(n, VALUES)).astype(np.float32)
    x[np.arange(n), y] += 0.8
    x[:, -1] = 0.1
    return Split(x, y, [f"{name}{i}" for i in range(n)])


def tags(name: str, n: int, seed: int) -> Split:
    """Several tags a track."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, VALUES)).astype(np.float32)
    mixed = x @ np.random.default_rng(9).normal(size=(VALUES, CLASSES)) * 0.3
    y = (mixed + rng.normal(size=(n, CLASSES)) > 1).astype(np.float32)
    return Split(x, y, [f"{name}{i}" for i in range(n)])


def train_all(task, train, valid, grid, seed=0):
    """All tiles, one after another."""
    found = {}
    for tile in tiles(grid, train.x.shape[1], task.n_outputs):
        found |= train_tile(task, train, valid, {number: grid[number] for number in tile}, seed)
    return [found[number] for number in range(len(grid))]


@pytest.mark.parametrize(("task", "make"), [(Genre(NAMES), genre), (Tagging(NAMES), tags)], ids=["genre", "tagging"])
def test_every_probe_of_the_grid_ends_as_it_would_alone(task, make):
    train, valid = make("a", 150, 0), make("b", 60, 1)
    alone, together = search(task, train, valid, GRID, seed=0), train_all(task, train, valid, GRID)
    assert len(GRID) == 216
    for one, other in zip(alone, together, strict=True):
        assert one.config == other.config
        assert (one.probe.best_step, one.probe.stop_step) == (other.probe.best_step, other.probe.stop_step)
        assert one.probe.value == pytest.approx(other.probe.value, abs=1e-3)  # a rounding may swap two ranks
        assert one.probe.loss == pytest.approx(other.probe.loss, rel=1e-4)
        assert [step for step, _ in one.probe.curve] == [step for step, _ in other.probe.curve]
        for name, weight in one.probe.weights.items():
            np.testing.assert_allclose(other.probe.weights[name], weight, atol=2e-6)
