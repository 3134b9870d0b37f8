"""What every task offers, and the checks they share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from datasets.text import pluralize
from experiments.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Task(Protocol):
    """A question asked of a recording: targets, loss, decoding and metrics.

    Attributes:
        name: Key in `experiments.tasks.TASKS`.
        annotations: Which annotations of a track it is about, keys of `datasets.corpus.ANNOTATIONS`; a track that lacks
            one of several is not annotated.
        kind: What an answer is: one of the classes, any number of them, or values.
        options: What its constructor takes to make it again; plain values. A task whose classes are those of a corpus
            has them there as `classes`.
        classes: Names of the answers, in the order of the outputs.
        n_outputs: Values a network must give per item.
        primary: The metric that early stopping and selection look at; higher is better.

    A task may also define `score_resampled(predictions, references, weights)`, the metrics under many weightings of the
    items at once; `experiments.intervals` uses it where it exists and calls `score` on every resample otherwise.
    `primary_resampled`, with the same arguments, gives the primary metric alone where that is faster.
    `measured(annotations)`, a class method, gives the options that depend on the annotated values of all tracks but
    those of the test. `spread(targets)` makes probabilities of classes of targets that are something else.
    `strata(targets)` names what kind of track each is, where targets are neither classes nor tags.
    `doubtful(annotations)`, a class method, gives what is implausible about annotated values, and whose they are.
    """

    name: str
    annotations: tuple[str, ...]
    kind: Literal["class", "tags", "values"]
    options: Mapping[str, Any]
    classes: tuple[str, ...]
    n_outputs: int
    primary: str

    def encode(self, annotation: Any) -> np.ndarray:
        """Turn an annotation as a person wrote it, or a tuple of several, into a target of one item."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compare raw outputs `[items, n_outputs]` with a batch of targets; a scalar, computed in float32."""

    def decode(self, outputs: Any) -> np.ndarray:
        """Turn raw outputs `[items, n_outputs]`, a tensor or an array, into predictions."""

    def score(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        """Measure predictions against stacked targets; flat, finite, plain floats, counts with the prefix `n_`."""

    def score_per_class(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, dict[str, float]]:
        """Measure every class that the references allow to be measured; the others are absent."""

    def primary_score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """The value of `score(...)[primary]` alone, fast enough to be asked every few steps."""

    def primary_scores(self, outputs: Tensor, references: Tensor) -> Tensor:
        """`primary_score` of many systems at once, on their device.

        Args:
            outputs: Raw outputs `[systems, items, n_outputs]`, finite.
            references: Stacked targets.

        Returns:
            float64 `[systems]`.
        """


def annotated(names: Sequence[str], annotations: Mapping[str, Any]) -> Any | None:
    """What a task's `encode` takes of a track's annotations.

    Args:
        names: The annotations that the task is about.
        annotations: Of the track, by name.

    Returns:
        The annotation, or a tuple where the task is about several; None where one is missing.
    """
    found = tuple(annotations.get(name) for name in names)
    if any(one is None for one in found):
        return None
    return found if len(found) > 1 else found[0]


def unknown(kind: str, name: Any, valid: Iterable[str]) -> UserError:
    """Make the error for a name that a table does not have: what was given, the nearest, and all there are.

    Args:
        kind: What the name stands for, e.g. "genre".
        name: What was given.
        valid: The names there are; more than 30 are shortened.
    """
    names = [str(one) for one in valid]
    folded = {one.casefold(): one for one in reversed(names)}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.5)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else "."
    listed = ", ".join(names[:30]) + (f", ... ({len(names)} in all)" if len(names) > 30 else "")
    return UserError(f"unknown {kind} {name!r}{hint} Valid: {listed}")


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


def finite_number(kind: str, value: Any) -> float:
    """Return an annotated number.

    Raises:
        UserError: It is none, or not finite.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise UserError(f"{kind}: {value!r} is no number; leave the cell empty where nobody annotated the track")
    return number
