"""Probes trained together end as they would alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments.errors import UserError
from experiments.probes.fitted import train_batch
from experiments.probes.vectors import Split
from experiments.tasks import Genre, Tagging
from models.probes.batched import batches_of_probes
from models.probes.grids import points
from tests.experiments.probes.one_by_one import search

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
    """All batches, one after another."""
    found = {}
    for batch in batches_of_probes(grid, train.x.shape[1], task.n_outputs):
        found |= train_batch(task, train, valid, {number: grid[number] for number in batch}, seed)
    return [found[number] for number in range(len(grid))]


@pytest.mark.parametrize(("task", "make"), [(Genre(NAMES), genre), (Tagging(NAMES), tags)], ids=["genre", "tagging"])
def test_every_probe_of_the_grid_ends_as_it_would_alone(task, make, monkeypatch):
    monkeypatch.delattr(Tagging, "loss_slope")  # it rounds otherwise than automatic differentiation
    train, valid = make("a", 150, 0), make("b", 60, 1)
    alone, together = search(task, train, valid, GRID, seed=0), train_all(task, train, valid, GRID)
    assert len(GRID) == 216
    for one, other in zip(alone, together, strict=True):
        assert one.config == other.config
        assert (one.probe.best_step, one.probe.stop_step) == (other.best_step, other.stop_step)
        assert one.probe.value == pytest.approx(other.value, abs=1e-3)  # a rounding may swap two ranks
        assert one.probe.loss == pytest.approx(other.loss, rel=1e-4)
        assert [step for step, _ in one.probe.curve] == [step for step, _ in other.curve]
        for name, weight in one.probe.weights.items():
            np.testing.assert_allclose(other.weights[name], weight, atol=2e-6)


FEW = points(
    standardise=[False, True],
    hidden=[None, 16],
    batch_size=[32],
    learning_rate=[1e-2, 1e-1],
    dropout=[0.0, 0.5],
    l2=[1e-3],
    evaluate_every=[2],
    patience=[3],
    max_steps=[30],
)


def agree(alone, together) -> None:
    for one, other in zip(alone, together, strict=True):
        assert one.config == other.config
        assert (one.probe.best_step, one.probe.stop_step) == (other.best_step, other.stop_step)
        assert one.probe.value == pytest.approx(other.value, abs=1e-3)
        for name, weight in one.probe.weights.items():
            np.testing.assert_allclose(other.weights[name], weight, atol=2e-6)


def of_blocks(name: str, n: int, seed: int) -> Split:
    """Three blocks side by side, of which the second tells the class."""
    split, rng = genre(name, n, seed), np.random.default_rng(seed + 1)
    noise = [rng.normal(size=split.x.shape).astype(np.float32) for _ in range(2)]
    return Split(np.concatenate([noise[0], split.x, noise[1]], axis=1), split.y, split.ids, layers=3)


def test_a_learned_sum_of_blocks_is_learned_together_as_alone_and_finds_the_block():
    task, train, valid = Genre(NAMES), of_blocks("a", 300, 0), of_blocks("b", 80, 1)
    alone = search(task, train, valid, FEW, seed=0)
    found = {}
    for batch in batches_of_probes(FEW, VALUES, task.n_outputs, blocks=3):
        found |= train_batch(task, train, valid, {number: FEW[number] for number in batch}, 0)
    agree(alone, [found[number] for number in range(len(FEW))])
    best = max((result.probe for result in alone), key=lambda probe: probe.value)
    assert best.shares.sum() == pytest.approx(1)
    assert best.shares.argmax() == 1
    assert best.predict(valid).shape == (80, CLASSES)


def test_clips_of_songs_are_evaluated_together():
    task, train, valid = Genre(NAMES), genre("a", 150, 0), genre("b", 60, 1)
    songs = tuple(f"song {number // 3}" for number in range(60))
    valid = replace(valid, y=valid.y[np.arange(60) // 3 * 3], groups=songs)
    train = replace(train, groups=tuple(train.ids))
    alone, together = search(task, train, valid, FEW, seed=0), train_all(task, train, valid, FEW)
    agree(alone, together)
    assert all((result.probe.value * 20) % 1 == pytest.approx(0, abs=1e-9) for result in alone)


def test_validation_that_no_probe_can_be_chosen_by_is_refused():
    train, valid = tags("a", 50, 0), tags("b", 20, 1)
    with pytest.raises(UserError, match="validation split: tagging: none of the 5 tags can be scored on 20 items"):
        train_all(Tagging(NAMES), train, replace(valid, y=np.zeros_like(valid.y)), GRID[:2])
