"""Small functions that tasks share: checks of classes, predictions and references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.text import pluralize
from experiments.errors import UserError
from experiments.tasks.base import Task

if TYPE_CHECKING:
    from models.network import Network


def checked_classes(kind: str, classes: Sequence[str], at_least: int) -> tuple[str, ...]:
    """Return the classes as a tuple.

    Raises:
        UserError: Too few, a repeated name, or a name that is empty or no string.
    """
    if isinstance(classes, str):
        raise UserError(f"{kind}: classes={classes!r} is one string; give a list of names")
    names = tuple(classes)
    wrong = [name for name in names if not isinstance(name, str) or not name.strip()]
    if wrong:
        raise UserError(f"{kind}: {wrong[0]!r} is not the name of a class; give non-empty strings")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{kind}: class {repeated[0]!r} is listed more than once")
    if len(names) < at_least:
        raise UserError(
            f"{kind}: {pluralize(len(names), 'class')} given, at least {at_least} needed; are there annotations?"
        )
    return names


def as_float32(outputs: Any) -> np.ndarray:
    """Return a tensor of any device and precision, or an array, as a float32 array."""
    if hasattr(outputs, "detach"):
        return outputs.detach().float().cpu().numpy()
    return np.asarray(outputs, dtype=np.float32)


def as_array(values: Any) -> np.ndarray:
    """Return a tensor or an array as an array of its own type."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def checked_predictions(task: Task, predictions: Any) -> np.ndarray:
    """Return predictions `[items, classes]` as float32.

    Raises:
        UserError: Another shape, no item, or values that are not finite.
    """
    values = as_float32(predictions)
    if values.ndim != 2 or values.shape[1] != task.n_outputs or not len(values):
        raise UserError(
            f"{task.name}: predictions of shape {list(values.shape)}, "
            f"expected [items, {task.n_outputs}] with 1 item or more"
        )
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        item, column = broken[0]
        raise UserError(
            f"{task.name}: {pluralize(len(broken), 'prediction')} not finite, the first of item {item}, "
            f"class {task.classes[column]!r}; the training diverged: lower the learning rate"
        )
    return values


def checked_numbers(task: Task, references: Any, n_items: int) -> np.ndarray:
    """Return class numbers `[items]`.

    Raises:
        UserError: Another shape or type, or a number that no class has.
    """
    targets = as_array(references)
    if targets.shape != (n_items,) or not np.issubdtype(targets.dtype, np.integer):
        raise UserError(
            f"{task.name}: references of shape {list(targets.shape)} and type {targets.dtype}, "
            f"expected one class number for each of {n_items} items"
        )
    if targets.min() < 0 or targets.max() >= task.n_outputs:
        wrong = targets[(targets < 0) | (targets >= task.n_outputs)][0]
        raise UserError(f"{task.name}: class number {wrong} in the references, expected 0..{task.n_outputs - 1}")
    return targets


def checked_values(task: Task, references: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return annotated values as float64.

    Raises:
        UserError: Another shape, or values that are not finite.
    """
    targets = np.asarray(as_array(references), dtype=np.float64)
    if targets.shape != shape:
        raise UserError(f"{task.name}: references of shape {list(targets.shape)}, expected {list(shape)}")
    if not np.isfinite(targets).all():
        raise UserError(f"{task.name}: {pluralize(int((~np.isfinite(targets)).sum()), 'reference')} not finite")
    return targets


def as_number(value: Any) -> float:
    """Return an annotated number; NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def finite_number(kind: str, value: Any) -> float:
    """Return an annotated number.

    Raises:
        UserError: It is none, or not finite.
    """
    number = as_number(value)
    if not np.isfinite(number):
        raise UserError(f"{kind}: {value!r} is no number; leave the cell empty where nobody annotated the track")
    return number


def check_over_time(network: Network | type[Network], task: Task | type[Task]) -> None:
    """Refuse a network over time for a task about whole recordings, and the reverse.

    Raises:
        UserError: They do not go together.
    """
    if network.over_time and task.clip_level:
        raise UserError(
            f"the network {network.name} gives its outputs over time, and {task.name} is about whole recordings: take "
            "datamodule.task=beats, or another network"
        )
    if not (network.over_time or task.clip_level):
        raise UserError(
            f"{task.name} is about points in time, and the network {network.name} gives one output a window: take a "
            "network over time, such as the named configs spectnt_beats and tcn_beats"
        )
