"""What is said of one file: ranked classes or values, of the whole and over time, and which classes are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.prediction import Prediction
from models.selection import Selection

DIGITS = 5


def key_of(kind: str) -> str:
    """The key of the ranking in an entry, by the kind of the task."""
    return "values" if kind == "values" else "ranked"


def entry_of(prediction: Prediction, top: int, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The best classes, or the values, of a file and of each of its windows; plain values.

    Args:
        prediction: Of the file.
        top: Classes in the ranking; of values all are in it.
        more: What is known of the file besides; plain values.
    """
    ranked = {label: round(value, DIGITS) for label, value in prediction.best(top).items()}
    over_time = [{"seconds": start, **values} for start, values in windows_of(prediction, list(ranked))]
    return {
        **(more or {}),
        "window_seconds": round(prediction.window, 3),
        key_of(prediction.kind): ranked,
        "over_time": over_time,
    }


def windows_of(prediction: Prediction, names: Sequence[str]) -> list[tuple[float, dict[str, float]]]:
    """The start of every window in seconds, and its values of some classes; plain values."""
    columns = [(name, prediction.labels.index(name)) for name in names]
    return [
        (round(float(time), 3), {name: round(float(row[at]), DIGITS) for name, at in columns})
        for time, row in zip(prediction.times, prediction.over_time, strict=True)
    ]


def selected(
    scores: np.ndarray, labels: Sequence[str], selection: Selection, about: Mapping[str, Any]
) -> dict[str, Any]:
    """The classes that are given, and by which rule; plain values.

    Args:
        scores: Probabilities of a file, float64 `[classes]`.
        labels: Names of the classes.
        selection: The rule.
        about: What is said of the rule besides.
    """
    rule: dict[str, Any] = {"rule": selection.rule, "source": selection.source}
    if selection.thresholds is not None:
        rule["below_thresholds"] = not selection.given(scores[None]).any()
        rule["thresholds"] = {
            label: round(value, DIGITS) for label, value in zip(labels, selection.thresholds, strict=True)
        }
    given = {labels[number]: round(float(scores[number]), DIGITS) for number in selection.numbers(scores)}
    return {"selected": given, "selection": {**rule, **about}}
