"""What is shown of a test: every class, and what was taken for what."""

from __future__ import annotations

import csv

import numpy as np

from experiments import reports
from experiments.tasks.base import Task
from experiments.tracking.run import RunHandle


def write_test_report(
    task: Task, predictions: np.ndarray, references: np.ndarray, run: RunHandle, suffix: str = ""
) -> None:
    """Attach the figures of every class as a table and a picture, and the confusion matrix where the task has one.

    Args:
        task: Scores.
        predictions: As the task decodes them, one row a track.
        references: Stacked targets.
        run: Gets the files.
        suffix: Of the file names, where a run reports on several tasks.
    """
    per_class = task.score_per_class(predictions, references)
    measured = next(iter(per_class.values()))
    metric = task.primary if task.primary in measured else "f1"
    run.add_artifact(reports.per_class_bars(per_class, metric, run.directory / f"per_class_test{suffix}.png"))
    table = run.directory / f"per_class_test{suffix}.csv"
    with table.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, ["class", *measured])
        writer.writeheader()
        writer.writerows({"class": name, **row} for name, row in per_class.items())
    run.add_artifact(table)
    if hasattr(task, "confusion"):
        counts = task.confusion(predictions, references)
        run.add_artifact(reports.confusion_matrix(counts, task.classes, run.directory / f"confusion_test{suffix}.png"))
