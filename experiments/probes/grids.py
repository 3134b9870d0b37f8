"""The grids of a sweep as settings name them: their axes can be changed and added to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from experiments.errors import UserError
from experiments.tasks.base import unknown
from models.probes.grids import GRIDS, ProbeConfig, points

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


def grid(name: str, axes: Mapping[str, Any] | None = None, max_steps: int | None = None) -> tuple[ProbeConfig, ...]:
    """The points of a grid.

    Args:
        name: A key of `GRIDS`.
        axes: Takes the place of the grid's values of an axis, or adds an axis behind the others; a value, or several.
        max_steps: No probe is trained for longer; it keeps its best weights.

    Raises:
        UserError: There is no such grid or axis, or a value that an axis cannot have; the message lists what there is.
    """
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS)
    wanted = dict(GRIDS[name])
    for given, values in (axes or {}).items():
        values = list(values) if isinstance(values, list | tuple) else [values]
        if not values:
            raise UserError(
                f"probe.axes.{given}=[]: give the values of the axis, for instance probe.axes.{given}=[...]"
            )
        axis = _axis(given)
        wanted[axis] = [_value(axis, value, given) for value in values]
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


def _value(axis: str, value: Any, given: str) -> Any:
    """A value as the axis takes it; `given` is what the user called the axis.

    Raises:
        UserError: Another type, or out of range.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and float(value).is_integer()
    expected, fits, made = {
        "standardise": ("True or False", isinstance(value, bool), bool),
        "hidden": ("None (linear) or a width above 0", whole and value > 0, int),
        "max_steps": ("None or a number of steps", whole and value >= 0, int),
        "learning_rate": ("a number above 0", number and value > 0, float),
        "dropout": ("a number from 0 up to, and without, 1", number and 0 <= value < 1, float),
        "l2": ("a number from 0 up", number and value >= 0, float),
    }.get(axis, ("a whole number above 0", whole and value > 0, int))
    if value is None and axis in ("hidden", "max_steps"):
        return None
    if not fits:
        raise UserError(f"probe.axes.{given}: {value!r}, expected {expected}")
    return made(value)
