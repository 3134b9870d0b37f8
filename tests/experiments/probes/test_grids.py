"""Grids of probes and what can be changed about them."""

from __future__ import annotations

import itertools

import pytest

from experiments.errors import UserError
from experiments.probes.grids import GRIDS, grid


def test_the_full_grid_is_that_of_the_paper_in_its_order():
    points = grid("full")
    assert len(points) == len(set(points)) == 216
    axes = ([False, True], [None, 512], [64, 256], [1e-5, 1e-4, 1e-3], [0.25, 0.5, 0.75], [0.0, 1e-4, 1e-3])
    found = [(p.standardise, p.hidden, p.batch_size, p.learning_rate, p.dropout, p.l2) for p in points]
    assert found == list(itertools.product(*axes))
    assert {(p.evaluate_every, p.patience, p.max_steps) for p in points} == {(8, 256, None)}


@pytest.mark.parametrize("name", GRIDS)
def test_points_are_distinct(name):
    assert len(set(grid(name))) == len(grid(name)) > 0


def test_axes_are_changed_added_and_known_by_other_names():
    points = grid("full", {"weight_decay": [0, 1e-4], "hidden": [512], "patience": 8})
    assert len(points) == 72
    assert {p.l2 for p in points} == {0.0, 1e-4}
    assert {(p.hidden, p.patience) for p in points} == {(512, 8)}
    assert len(grid("single", {"learning_rate": [1e-3, 1e-2], "l2": [0, 0]})) == 2


def test_a_step_limit_holds_for_every_point():
    assert {p.max_steps for p in grid("full", max_steps=100)} == {100}
    assert {p.max_steps for p in grid("full", {"max_steps": [None, 50]}, max_steps=100)} == {50, 100}


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"learning_rat": [1]}, r"unknown axis of the grid 'learning_rat'; did you mean 'learning_rate'.*standardise"),
        ({"tokens": ["cls"]}, r"embeddings\.tokens=\[cls,mean\]"),
        ({"hidden": []}, r"probe\.axes\.hidden=\[\]"),
        ({"hidden": [0]}, "hidden: 0, expected None"),
        ({"hidden": [1.5]}, "hidden: 1.5"),
        ({"dropout": [1.0]}, "dropout: 1.0"),
        ({"learning_rate": ["fast"]}, "learning_rate: 'fast'"),
        ({"standardise": [1]}, "standardise: 1, expected True or False"),
        ({"patience": [True]}, "patience: True, expected a whole number"),
    ],
)
def test_mistakes_are_named(axes, said):
    with pytest.raises(UserError, match=said):
        grid("full", axes)


def test_an_unknown_grid_is_named():
    with pytest.raises(UserError, match=r"unknown grid 'qick'; did you mean 'quick'\?"):
        grid("qick")
