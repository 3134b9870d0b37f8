"""What differs between averages over the windows of a track: of probabilities, of logits, of embeddings.

CLMR averages probabilities (Spijkervet and Burgoyne, ISMIR 2021), jukemir embeddings (Castellon, Donahue and Liang,
ISMIR 2021). With a linear head the averages of logits and of embeddings are equal.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from datasets.csv_writing import write_table
from experiments.messages import say
from experiments.probes.report import format_table
from experiments.probes.rows import Row, predictions_row
from experiments.probes.validation import song_means, songs
from experiments.probes.vectors import Split
from experiments.tasks.base import Task
from experiments.tracking import RunHandle

FILE = "averages.csv"
AVERAGED = ("probabilities", "logits", "embeddings")


def predictions_by_average(task: Task, head: nn.Module, x: np.ndarray, track: np.ndarray) -> dict[str, np.ndarray]:
    """Predictions for tracks by what is averaged over their windows, in double, so that rounding makes no difference.

    Args:
        task: Decodes logits.
        head: Vectors `[windows, values]` to logits.
        x: `[windows, values]`.
        track: Number of every window's track, `[windows]`, each number from 0 on at least once.

    Returns:
        For each of `AVERAGED`, `[tracks, outputs]` float32.
    """
    head = copy.deepcopy(head).cpu().double().eval()
    with torch.inference_mode():
        logits = head(torch.from_numpy(x).double()).numpy()
        of_means = head(torch.from_numpy(song_means(x, track))).numpy()
    return {
        "probabilities": song_means(np.asarray(task.decode(logits)), track).astype(np.float32),
        "logits": np.asarray(task.decode(song_means(logits, track))),
        "embeddings": np.asarray(task.decode(of_means)),
    }


def report_averages(
    task: Task, data: Mapping[str, Any], head: nn.Module, test: Split, evaluated: np.ndarray, run: RunHandle
) -> dict[str, float]:
    """Print the averages as a table with intervals and differences on the same resamples; `averages.csv` has it, too.

    Args:
        task: Scores.
        data: What `experiments.tracks.data.identify` gives.
        head: Of the trained network.
        test: Windows, whose groups are the tracks.
        evaluated: Predictions for the tracks as the test reports them, `[tracks, outputs]`.
        run: Keeps the table.

    Returns:
        Of the average of probabilities, `test/METRIC_low` and `test/METRIC_high`; of the others,
        `test/METRIC_of_logits` and the like.
    """
    names, track = songs(test.groups or test.ids)
    _, first = np.unique(track, return_index=True)
    whole = Split(np.zeros((len(names), 1), np.float32), test.y[first], names)
    made = predictions_by_average(task, head, test.x, track) | {AVERAGED[0]: evaluated}
    rows = [predictions_row(task, data, name, "", whole, made[name][None]) for name in AVERAGED]
    say("\nby what is averaged over the windows of a track:" + format_table(rows, {task.name: rows[0]}))
    cells = [
        [row.label, metric, *(f"{number:.6f}" for number in measured)]
        for row in rows
        for metric, measured in row.metrics.items()
    ]
    write_table(run.directory / FILE, ["averaged", "metric", "value", "low", "high"], cells)
    run.add_artifact(run.directory / FILE)
    return _as_result(rows)


def _as_result(rows: list[Row]) -> dict[str, float]:
    usual, *others = rows
    result = {}
    for metric, (_, low, high) in usual.metrics.items():
        if not metric.startswith("n_"):
            result |= {f"test/{metric}_low": low, f"test/{metric}_high": high}
    for row in others:
        result |= {
            f"test/{metric}_of_{row.label}": value
            for metric, (value, _, _) in row.metrics.items()
            if not metric.startswith("n_")
        }
    return result
