"""From chosen probes and ready answers to scores on the test split, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from experiments.intervals import Difference, System, bounds, central, differences, resampled
from experiments.probes.judging import best_rule, items, song_answers, songs
from experiments.probes.records import Score, answers_name
from experiments.probes.representations import Representation
from experiments.probes.sweeping import Outcome
from experiments.probes.vectors import Split
from experiments.tasks.base import Task

RESAMPLES = 1000


@dataclass(frozen=True)
class Judged:
    """A row of the table, with what it was computed from.

    Attributes:
        label: What the row is called.
        score: As it is recorded.
        ids: Items judged: tracks, or songs.
        by_seed: Predictions, `[seeds, items, ...]`.
        references: Targets.
        drawn: The primary metric on every resample, mean over seeds.
        metrics: Every metric: mean over seeds, and its 95 % interval over items and seeds, `(value, low, high)`.
    """

    label: str
    score: Score
    ids: list[str]
    by_seed: np.ndarray
    references: np.ndarray
    drawn: np.ndarray
    metrics: Mapping[str, tuple[float, float, float]]


def judged(task: Task, label: str, row: Score, ids: Sequence[str], by_seed: np.ndarray, y: np.ndarray) -> Judged:
    """Score predictions `[seeds, items, ...]`; fills in what is measured."""
    scores = [task.score(predictions, y) for predictions in by_seed]
    draws = [resampled(task, predictions, y, RESAMPLES, 0) for predictions in by_seed]
    names = [name for name in draws[0] if name in scores[0]]
    drawn = {name: np.mean([one[name] for one in draws], axis=0) for name in names}
    metrics, ends = {}, {}
    for name in names:
        low, high = central(f"{task.name}: {name}", drawn[name], len(y))
        ends[name] = low, high
        values = [one[name] for one in scores]
        metrics[name] = (float(np.mean(values)), *bounds(name, low, high, values))
    found = replace(
        row,
        metric=task.primary,
        score=metrics[task.primary][0],
        low=ends[task.primary][0],
        high=ends[task.primary][1],
        seeds=[float(one[task.primary]) for one in scores],
        n=len(y),
        metrics={name: value for name, (value, _, _) in metrics.items()},
    )
    return Judged(label, found, list(ids), by_seed, y, drawn[task.primary], metrics)


def blank(task: Task, data: Mapping[str, Any], encoder: str, kind: str) -> Score:
    """A row before anything is measured; `data` is what `data.identify` gives."""
    origin = (data["corpus"], data["split_fingerprint"], data["classes_fingerprint"])
    corpus, split, classes = origin
    nothing = float("nan")
    return Score(task.name, corpus, encoder, kind, task.primary, nothing, nothing, nothing, [], 0, split, classes)


def probe_row(
    task: Task,
    data: Mapping[str, Any],
    row: Representation,
    label: str,
    splits: Mapping[str, Split],
    outcomes: Sequence[Outcome],
) -> Judged:
    """Use the chosen probe of every seed on the test split, once."""
    answers, rules = [], []
    test, valid = splits["test"], splits["valid"]
    for outcome in outcomes:
        if test.groups is None:
            answers.append(outcome.probe.predict(test))
            continue
        rules.append(best_rule(task, outcome.probe.outputs(valid), valid.y, valid.groups))
        answers.append(song_answers(task, rules[-1], outcome.probe.outputs(test), test.groups))
    patches = f"{row.pooling} of patches" if row.pooling else row.reduction.name
    aggregation = patches + (f"; song: {', '.join(dict.fromkeys(rules))}" if rules else "")
    chosen = outcomes[0].probe
    config = asdict(chosen.config)
    if chosen.shares is not None:
        config["block_shares"] = [round(float(share), 4) for share in chosen.shares]
    found = replace(
        blank(task, data, row.encoder, "probe"),
        network=row.network,
        block=row.block,
        tokens=row.tokens,
        pooling=row.pooling,
        aggregation=aggregation,
        config=config,
        predictions=answers_name(task.name, row.encoder, row.block, row.tokens, row.pooling),
        valid=float(np.mean([outcome.probe.value for outcome in outcomes])),
    )
    ids, y = items(task, test)
    return judged(task, label, found, ids, np.stack(answers), y)


def answer_row(
    task: Task, data: Mapping[str, Any], name: str, network: str, split: Split, predictions: np.ndarray
) -> Judged:
    """Judge decoded answers `[seeds, tracks, ...]` to a split; of the clips of a song, their mean."""
    ids, y = items(task, split)
    if split.groups is not None:
        _, rows = songs(split.groups)
        sums = np.zeros((len(predictions), len(ids), predictions.shape[-1]))
        np.add.at(sums, (slice(None), rows), predictions)
        predictions = (sums / np.bincount(rows)[:, None]).astype(np.float32)
    aggregation = "song: mean" if split.groups is not None else ""
    row = replace(
        blank(task, data, name, "baseline"),
        network=network,
        aggregation=aggregation,
        predictions=answers_name(task.name, name),
    )
    return judged(task, name, row, ids, predictions, y)


def behind(best: Judged, other: Judged) -> Difference:
    """How far a row is ahead of another, with an interval over items (paired) and seeds."""
    both = {
        name: System(one.score.seeds, one.drawn)
        for name, one in ((f"1 {best.label}", best), (f"2 {other.label}", other))
    }
    return next(iter(differences(both, best.score.n, best.score.metric).values()))
