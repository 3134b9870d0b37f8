"""Which probes a sweep trains: grids are data, their axes can be changed and added to.

`full` is the grid of Castellon, Donahue and Liang (ISMIR 2021), 216 points, enumerated with the last axis fastest.
`quick` is a coarser one with an end; what it costs in score, `python -m benchmarks.sweep --whole` says with `--grid
quick` and without.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from experiments.errors import UserError
from experiments.tasks.base import unknown

Axes = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class ProbeConfig:
    """One point of a grid.

    Attributes:
        standardise: Subtract the training mean and divide by the training deviation.
        hidden: Width of the hidden layer; None for a linear probe.
        batch_size: Tracks a step; all of them where there are fewer.
        learning_rate: Of Adam, constant.
        dropout: Of the input, and of the hidden layer.
        l2: Coupled, on weights and biases.
        evaluate_every: Steps between evaluations; the first precedes the first step.
        patience: Evaluations in a row without a new best before it stops.
        max_steps: Ends at this step with the best weights so far; None for no limit.
    """

    standardise: bool = True
    hidden: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    dropout: float = 0.5
    l2: float = 0.0
    evaluate_every: int = 8
    patience: int = 256
    max_steps: int | None = None

    def describe(self) -> str:
        """One short line, for tables and errors."""
        form = "linear" if self.hidden is None else f"hidden {self.hidden}"
        scaled = "standardised" if self.standardise else "raw"
        return (
            f"{form}, {scaled}, batch {self.batch_size}, lr {self.learning_rate:g}, "
            f"dropout {self.dropout:g}, l2 {self.l2:g}"
        )


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


def points(**axes: Sequence[Any]) -> tuple[ProbeConfig, ...]:
    """All combinations of the values of some settings, the last axis fastest."""
    return tuple(ProbeConfig(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values()))


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
