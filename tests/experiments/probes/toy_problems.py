"""Small problems of genre that a sweep solves in a second."""

from __future__ import annotations

import numpy as np

from experiments.probes.sweep_files import Problem
from experiments.probes.vectors import Split
from experiments.tasks import Genre
from models.probes.grids import ProbeConfig

TASK = Genre([f"class {number}" for number in range(4)])


def split(name: str, n: int, seed: int) -> Split:
    """Noise of 12 values, of which the one of the class is raised."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, TASK.n_outputs, n)
    x = rng.normal(size=(n, 12)).astype(np.float32)
    x[np.arange(n), y] += 1.0
    return Split(x, y, [f"{name}{i}" for i in range(n)])


def two_problems(grid: tuple[ProbeConfig, ...]) -> list[Problem]:
    """The same splits under two seeds."""
    train, valid = split("a", 80, 0), split("b", 40, 1)
    return [Problem(TASK, train, valid, grid, seed) for seed in (0, 1)]
