"""The test of a tagger beyond the metrics of a validation: micro averages, categories, tags given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from datasets.intervals import IntervalError
from datasets.text import enumerated
from experiments.intervals import interval
from experiments.messages import say
from experiments.objectives import Evaluation
from experiments.tasks.base import Task
from models.metrics import selection_metrics
from models.selection import Selection


def further_scores(task: Task, evaluation: Evaluation, selection: Selection | None) -> dict[str, float]:
    """Metrics of `Task.score_further`, and of the tags that a rule gives."""
    predictions, references = evaluation.predictions, evaluation.references
    scores = task.score_further(predictions, references)
    if task.kind != "tags" or not task.clip_level or selection is None:
        return scores
    positives = np.asarray(references) == 1
    return scores | (selection_metrics(selection.given(np.asarray(predictions)), positives) if positives.any() else {})


def macro_intervals(task: Task, evaluation: Evaluation, seed: int) -> dict[str, tuple[float, float]]:
    """Intervals of the macro averages over the tracks; none where tracks are not tagged or too few."""
    if task.kind != "tags" or not task.clip_level:
        return {}
    try:
        return interval(task, evaluation.predictions, evaluation.references, seed=seed)
    except IntervalError:
        return {}


def score_line(scores: Mapping[str, float], ends: Mapping[str, tuple[float, float]]) -> str:
    """The scores of a test in a line, with the intervals that are known."""
    shown = {name: "" if name not in ends else " [{:.4g}, {:.4g}]".format(*ends[name]) for name in scores}
    return "  ".join(f"test/{name} {value:.4g}{shown[name]}" for name, value in scores.items())


def name_left_out(task: Task, references: np.ndarray) -> None:
    """Say which classes the macro averages leave out."""
    left_out = task.unscorable(references) if task.clip_level else {}
    if left_out:
        named = [f"{name} ({n} of {len(references)})" for name, n in left_out.items()]
        whole, short = ", ".join(named), f"{enumerated(named)}; all of them: per_class_test.csv"
        say(f"left out of the means, as no test track or every one has them: {min(whole, short, key=len)}")


def print_scores(scores: Mapping[str, float], selection: Selection | None) -> None:
    """Tell the further scores, a line for ranking and one for the tags that are given."""
    given = [name for name in scores if name.startswith(("f1_", "precision_", "recall_", "tags_", "untagged"))]
    ranking = [name for name in scores if name not in given]
    for title, names in (("", ranking), (f"tags given, {selection.source if selection else ''}: ", given)):
        if names:
            say(title + "  ".join(f"test/{name} {scores[name]:.4g}" for name in names))
