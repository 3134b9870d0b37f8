"""Test results by class, as a table and a picture, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.csv_writing import RecordWriter
from datasets.text import aligned, printable
from experiments import reports
from experiments.tasks.base import Task
from experiments.tracking import RunHandle
from experiments.tracks.strata import membership

Ends = Mapping[str, Mapping[str, tuple[float, float]]]  # class -> metric -> low, high
N_TRAIN = "n_train"  # column: training tracks of a class
ENDS = ("low", "high")
TAG = "tag"  # heading of a table
UNSEEN = " (not in train)"  # behind the name of a class without any


def write_test_report(
    task: Task,
    predictions: np.ndarray,
    references: np.ndarray,
    run: RunHandle,
    train: np.ndarray | None = None,
    suffix: str = "",
    system: str = "",
    ends: Ends | None = None,
) -> None:
    """Attach the figures of every class as a table and a picture, and the confusion matrix where the task has one.

    Args:
        task: Scores.
        predictions: As the task decodes them, one row a track.
        references: Stacked targets.
        run: Gets the files.
        train: Stacked targets of the training tracks, where they are known: classes without a track are marked.
        suffix: Of the file names, where a run reports on several tasks.
        system: What made the predictions, for the titles of the pictures.
        ends: Intervals of the metrics of every class, for columns of their own; classes that cannot be scored then have
            a row of their number alone.
    """
    per_class = task.score_per_class(predictions, references)
    if not per_class:
        return
    measured = next(iter(per_class.values()))
    metric = task.primary if task.primary in measured else "f1"
    n_train = {} if train is None else _training_tracks(task, train, per_class)
    bars = {name + UNSEEN * (n_train.get(name) == 0): row for name, row in per_class.items()}
    title = f"{task.name}: {system}" if system else task.name
    run.add_artifact(
        reports.per_class_bars(bars, metric, run.directory / f"per_class_test{suffix}.png", title, task.unit)
    )
    rows = {name: {"class": name, **row, **_end_columns((ends or {}).get(name, {}))} for name, row in per_class.items()}
    if ends:
        n_train |= _training_tracks(task, train, task.unscorable(references)) if n_train else {}
        rows |= {name: {"class": name, "n_positive": n} for name, n in task.unscorable(references).items()}
    columns = dict.fromkeys(column for row in rows.values() for column in row)
    table = run.directory / f"per_class_test{suffix}.csv"
    with table.open("w", newline="", encoding="utf-8") as handle:
        writer = RecordWriter(handle, [*columns, *([N_TRAIN] if n_train else [])])
        writer.writeheader()
        for name, row in rows.items():
            writer.writerow(row | ({N_TRAIN: n_train[name]} if n_train else {}))
    run.add_artifact(table)
    if (confusion := task.confusion(predictions, references)) is not None:
        picture = run.directory / f"confusion_test{suffix}.png"
        run.add_artifact(reports.confusion_matrix(confusion, task.classes, picture, title))


def per_class_table(task: Task, predictions: np.ndarray, references: np.ndarray, ends: Ends) -> str:
    """The figures of every class for a terminal: per cent, ends of the 95 % interval; the most frequent first."""
    per_class = task.score_per_class(predictions, references)
    metrics = [name for name in next(iter(per_class.values()), {}) if not name.startswith("n_")]
    rows = [(TAG, "n", *metrics)]
    for name, row in sorted(per_class.items(), key=lambda pair: -pair[1].get("n_positive", 0)):
        cells = (
            f"{100 * row[metric]:.1f} ({_in_per_cent(*ends[name][metric])})"
            if metric in ends.get(name, {})
            else f"{100 * row[metric]:.1f}"
            for metric in metrics
        )
        rows.append((printable(name), f"{row.get('n_positive', 0):.0f}", *cells))
    rows += [(printable(name), str(n), *("-" for _ in metrics)) for name, n in task.unscorable(references).items()]
    return aligned(rows)


def _in_per_cent(low: float, high: float) -> str:
    """The ends of an interval, which near 0 and 100 do not lie at the same distance from the score."""
    return f"{100 * low:.1f}-{100 * high:.1f}"


def _end_columns(ends: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    return {f"{metric}_{end}": value for metric, pair in ends.items() for end, value in zip(ENDS, pair, strict=True)}


def _training_tracks(task: Task, train: np.ndarray, per_class: Mapping[str, Any]) -> dict[str, int]:
    """How many training tracks every row of a report has; none where rows are values, of which every track has one."""
    if task.kind == "values" and set(per_class) <= set(task.classes):
        return {}
    member, kinds = membership(task, train)
    counts = dict(zip(kinds, member.sum(axis=0).tolist(), strict=True))
    return {name: counts.get(name, 0) for name in per_class}
