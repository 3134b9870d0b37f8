"""Scores on changed audio beside those on the same audio as it is: a table, with intervals, and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from datasets.csv_writing import write_table
from datasets.intervals import IntervalError, SystemScores, differences
from datasets.text import aligned
from experiments import reports
from experiments.intervals import resampled_together
from experiments.messages import say
from experiments.tasks.base import Task
from experiments.tracking import RunHandle
from models.files import replaced

SEED = 0  # of the resamples


@dataclass(frozen=True)
class PerturbedScore:
    """One metric under one change.

    Attributes:
        name: Of the change; the first one is no change.
        metric: Its name.
        score: Its value.
        difference: From the score without a change; None of that score itself.
        low: Of the 95 % interval of the difference, over tracks; None where there is none.
        high: The same.
    """

    name: str
    metric: str
    score: float
    difference: float | None = None
    low: float | None = None
    high: float | None = None


def compare(
    task: Task, predictions: Mapping[str, np.ndarray], references: np.ndarray, resamples: int
) -> list[PerturbedScore]:
    """Score every change, and how far that is from no change.

    Both are scored on the same resamples of the tracks, so that tracks which are hard for both do not widen the
    interval.

    Args:
        task: Its metrics.
        predictions: By change, `[tracks, n_outputs]`; the first without a change.
        references: `[tracks, ...]`.
        resamples: Of the tracks.

    Returns:
        A row for every metric and change.
    """
    clean, *changed = predictions
    scores = {name: task.score(values, references) for name, values in predictions.items()}
    drawn = resampled_together(task, list(predictions.values()), references, resamples, SEED)
    resampled = dict(zip(predictions, drawn, strict=True))
    rows = []
    for metric in [name for name in scores[clean] if not name.startswith("n_")]:
        rows.append(PerturbedScore(clean, metric, scores[clean][metric]))
        for name in changed:
            pair = {one: SystemScores([scores[one][metric]], resampled[one][metric]) for one in (name, clean)}
            ahead = scores[name][metric] - scores[clean][metric]
            try:
                found = differences(pair, len(references), metric)[name, clean]
                rows.append(PerturbedScore(name, metric, scores[name][metric], ahead, found.low, found.high))
            except IntervalError:  # too few tracks
                rows.append(PerturbedScore(name, metric, scores[name][metric], ahead))
    return rows


def write_report(rows: Sequence[PerturbedScore], tracks: int, run: RunHandle) -> None:
    """Print the table, and keep it and its picture with the run."""
    if not run.is_global_zero:
        return
    print(text(rows))
    table, document = run.directory / "robustness_table.csv", run.directory / "robustness_table.json"
    columns = ("perturbation", "metric", "score", "difference", "low", "high")
    write_table(table, columns, (tuple("" if one is None else one for one in asdict(row).values()) for row in rows))
    with replaced(document) as aside:
        content = {"tracks": tracks, "rows": [dict(zip(columns, asdict(row).values(), strict=True)) for row in rows]}
        aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    picture = draw(rows, tracks, run.directory / "robustness.png")
    for file in (table, document, picture):
        run.add_artifact(file)
    say(f"scores of {tracks} test tracks: {table}; picture: {picture}")


def text(rows: Sequence[PerturbedScore]) -> str:
    """A line for every change: the score of each metric, the difference and its interval."""
    metrics, names = list(dict.fromkeys(row.metric for row in rows)), list(dict.fromkeys(row.name for row in rows))
    by_place = {(row.name, row.metric): row for row in rows}
    scored = ([name, *(_cell(by_place[name, metric]) for metric in metrics)] for name in names)
    return aligned([["", *metrics], *scored])


def _cell(row: PerturbedScore) -> str:
    if row.difference is None:
        return f"{row.score:.4f}"
    between = "" if row.low is None or row.high is None else f" ({row.low:+.4f} to {row.high:+.4f})"
    return f"{row.score:.4f} {row.difference:+.4f}{between}"


def draw(rows: Sequence[PerturbedScore], tracks: int, path: Path) -> Path:
    """Differences with their intervals, a panel a metric, a line a change."""
    metrics, clean = list(dict.fromkeys(row.metric for row in rows)), rows[0].name
    names = list(dict.fromkeys(row.name for row in rows if row.name != clean))
    height = 1.6 + 0.38 * len(names)
    with reports.picture(path, 2.2 + 4.2 * len(metrics), height, columns=len(metrics)) as axes:
        for axis, metric in zip(axes, metrics, strict=True):
            chosen = [row for row in rows if row.metric == metric]
            changed = [row for row in chosen if row.name != clean]
            axis.axvline(0, color=reports.MUTED, linewidth=1)
            for place, row in enumerate(changed):
                if row.low is not None:
                    axis.plot([row.low, row.high], [place, place], color=reports.COLOURS[0])
                axis.plot(row.difference, place, "o", color=reports.COLOURS[0])
            axis.set_yticks(range(len(names)), names if axis is axes[0] else [""] * len(names))
            axis.invert_yaxis()
            axis.set_title(f"{metric}: {chosen[0].score:.3f} as it is")
            axis.set_xlabel(f"difference, 95 % over {tracks} tracks")
    return path
