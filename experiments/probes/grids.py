"""Which probes a sweep trains: grids are data, their axes can be changed and added to.

`full` is the grid of Castellon, Donahue and Liang (ISMIR 2021), 216 points, enumerated with the last axis fastest.
`quick` is a coarser one with an end; what it costs in score, `python -m benchmarks.sweep --whole` says with `--grid
quick` and without.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from experiments.errors import UserError
from experiments.probes.fitted import ProbeConfig
from experiments.tasks.base import unknown

Axes = Mapping[str, Sequence[Any]]

GRIDS: Mapping[str, Axes] = MappingProxyType(
    {
        "full": {
            "standardise": [False, True],
            "hidden": [None, 512],
            "batch_size": [64, 256],
            "learning_rate": [1e-5, 1e-4, 1e-3],
            "dropout": [0.25, 0.5, 0.75],
            "l2": [0.0, 1e-4, 1e-3],
        },
        "quick": {
            "standardise": [True],
            "hidden": [None, 512],
            "batch_size": [64],
            "learning_rate": [1e-3],
            "dropout": [0.25, 0.75],
            "patience": [64],
            "max_steps": [4000],
        },
        "single": {"hidden": [None], "patience": [32], "max_steps": [4000]},
    }
)
AXES = tuple(one.name for one in fields(ProbeConfig))
OTHER_NAMES = {"weight_decay": "l2", "lr": "learning_rate", "standardize": "standardise"}
ELSEWHERE = {
    "block": "embeddings.blocks=[6,11]",
    "blocks": "embeddings.blocks=[6,11]",
    "tokens": "embeddings.tokens=[cls,mean]",
    "pooling": "embeddings.pooling=[mean,max]",
    "seed": "probe.seeds=[0,1,2]",
    "seeds": "probe.seeds=[0,1,2]",
}
POSITIVE = ("hidden", "batch_size", "evaluate_every", "patience")


def points(**axes: Sequence[Any]) -> tuple[ProbeConfig, ...]:
    """All combinations of the values of some settings, the last axis fastest."""
    return tuple(ProbeConfig(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values()))


def grid(name: str, axes: Axes | None = None, max_steps: int | None = None) -> tuple[ProbeConfig, ...]:
    """The points of a grid.

    Args:
        name: A key of `GRIDS`.
        axes: Takes the place of the grid's values of an axis, or adds an axis behind the others.
        max_steps: No probe is trained for longer; it keeps its best weights.

    Raises:
        UserError: There is no such grid or axis, or a value that an axis cannot have; the message lists what there is.
    """
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS)
    wanted = dict(GRIDS[name])
    for axis, values in (axes or {}).items():
        wanted[_axis(axis)] = [_value(axis, value) for value in _values(axis, values)]
    made = points(**wanted)
    if max_steps is not None:
        made = tuple(replace(one, max_steps=min(max_steps, one.max_steps or max_steps)) for one in made)
    return tuple(dict.fromkeys(made))


def _axis(name: str) -> str:
    axis = OTHER_NAMES.get(name, name)
    if axis in AXES:
        return axis
    if name in ELSEWHERE:
        raise UserError(f"probe.axes.{name}: not an axis of the grid; every one is searched apart: {ELSEWHERE[name]}")
    raise unknown("axis of the grid", name, AXES)


def _values(name: str, values: Any) -> Sequence[Any]:
    values = list(values) if isinstance(values, list | tuple) else [values]
    if not values:
        raise UserError(f"probe.axes.{name}=[]: give the values of the axis, for instance probe.axes.{name}=[...]")
    return values


def _value(name: str, value: Any) -> Any:
    """A value as the axis takes it.

    Raises:
        UserError: Another type, or out of range.
    """
    axis = _axis(name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and int(value) == value
    if axis == "standardise" and isinstance(value, bool):
        return value
    if axis in ("hidden", "max_steps") and value is None:
        return None
    if axis in POSITIVE and whole and value > 0:
        return int(value)
    if axis == "max_steps" and whole and value >= 0:
        return int(value)
    if axis == "learning_rate" and number and value > 0:
        return float(value)
    if axis == "dropout" and number and 0 <= value < 1:
        return float(value)
    if axis == "l2" and number and value >= 0:
        return float(value)
    expected = {
        "standardise": "True or False",
        "hidden": "None (linear) or a width above 0",
        "max_steps": "None or a number of steps",
        "learning_rate": "a number above 0",
        "dropout": "a number from 0 up to, and without, 1",
        "l2": "a number from 0 up",
    }
    raise UserError(f"probe.axes.{name}: {value!r}, expected {expected.get(axis, 'a whole number above 0')}")
