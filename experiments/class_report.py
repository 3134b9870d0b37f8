"""Test results by class, as a table and a picture, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from datasets.csv_writing import RecordWriter
from experiments import reports
from experiments.tasks.base import Task
from experiments.tracking import RunHandle
from experiments.tracks.strata import membership

N_TRAIN = "n_train"  # column: training tracks of a class
UNSEEN = " (not in train)"  # behind the name of a class without any


def write_test_report(
    task: Task,
    predictions: np.ndarray,
    references: np.ndarray,
    run: RunHandle,
    train: np.ndarray | None = None,
    suffix: str = "",
    system: str = "",
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
    """
    per_class = task.score_per_class(predictions, references)
    if not per_class:
        return
    measured = next(iter(per_class.values()))
    metric = task.primary if task.primary in measured else "f1"
    n_train = {} if train is None else _training_tracks(task, train, per_class)
    bars = {name + UNSEEN * (n_train.get(name) == 0): row for name, row in per_class.items()}
    title = f"{task.name}: {system}" if system else task.name
    run.add_artifact(reports.per_class_bars(bars, metric, run.directory / f"per_class_test{suffix}.png", title))
    table = run.directory / f"per_class_test{suffix}.csv"
    with table.open("w", newline="", encoding="utf-8") as handle:
        writer = RecordWriter(handle, ["class", *measured, *([N_TRAIN] if n_train else [])])
        writer.writeheader()
        for name, row in per_class.items():
            writer.writerow({"class": name, **row} | ({N_TRAIN: n_train[name]} if n_train else {}))
    run.add_artifact(table)
    if (confusion := task.confusion(predictions, references)) is not None:
        picture = run.directory / f"confusion_test{suffix}.png"
        run.add_artifact(reports.confusion_matrix(confusion, task.classes, picture, title))


def _training_tracks(task: Task, train: np.ndarray, per_class: Mapping[str, Mapping[str, float]]) -> dict[str, int]:
    """How many training tracks every row of a report has; none where rows are values, of which every track has one."""
    if task.kind == "values" and set(per_class) <= set(task.classes):
        return {}
    member, kinds = membership(task, train)
    counts = dict(zip(kinds, member.sum(axis=0).tolist(), strict=True))
    return {name: counts.get(name, 0) for name in per_class}
