"""The rows of the table: chosen probes, stored predictions and baselines, each evaluated once on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.intervals import Difference, SystemScores, bounds, central, differences
from datasets.store import Store, stated
from datasets.store_format import read_header
from experiments.errors import UserError
from experiments.intervals import resampled
from experiments.probes.records import PREDICTIONS, Score, predictions_name
from experiments.probes.validation import best_rule, items, song_means, song_predictions, songs
from experiments.probes.vectors import Split
from experiments.tasks.base import Task, unknown

if TYPE_CHECKING:
    from experiments.probes.representations import Representation
    from experiments.probes.sweep import Outcome

RESAMPLES = 1000


@dataclass(frozen=True)
class Row:
    """A row of the table, with what it was computed from.

    Attributes:
        label: What the row is called.
        score: As it is recorded.
        ids: Items evaluated: tracks, or songs.
        by_seed: Predictions, `[seeds, items, ...]`.
        references: Targets.
        resampled: The primary metric on every resample, mean over seeds.
        metrics: Every metric: mean over seeds, and its 95 % interval over items and seeds, `(value, low, high)`.
    """

    label: str
    score: Score
    ids: list[str]
    by_seed: np.ndarray
    references: np.ndarray
    resampled: np.ndarray
    metrics: Mapping[str, tuple[float, float, float]]


def probe_row(
    task: Task,
    data: Mapping[str, Any],
    representation: Representation,
    label: str,
    splits: Mapping[str, Split],
    outcomes: Sequence[Outcome],
) -> Row:
    """Use the chosen probe of every seed on the test split, once.

    Args:
        task: Scores.
        data: What `data.identify` gives.
        representation: The vectors that the probes see.
        label: Of the row.
        splits: With these vectors.
        outcomes: One a seed.
    """
    predictions, rules = [], []
    test, valid = splits["test"], splits["valid"]
    for outcome in outcomes:
        if test.groups is None:
            predictions.append(outcome.probe.predict(test))
            continue
        rules.append(best_rule(task, outcome.probe.outputs(valid), valid.y, valid.groups))
        predictions.append(song_predictions(task, rules[-1], outcome.probe.outputs(test), test.groups))
    pooled = f"{representation.pooling} of windows" if representation.pooling else representation.reduction.name
    chosen = outcomes[0].probe
    config = asdict(chosen.config)
    if chosen.shares is not None:
        config["block_shares"] = [round(float(share), 4) for share in chosen.shares]
    score = replace(
        measured_on(task, data, representation),
        aggregation=pooled + (f"; song: {', '.join(dict.fromkeys(rules))}" if rules else ""),
        config=config,
        predictions=predictions_name(
            task.name, representation.encoder, representation.block, representation.tokens, representation.pooling
        ),
        valid=float(np.mean([outcome.probe.value for outcome in outcomes])),
    )
    return _evaluated(task, label, score, *items(task, test), np.stack(predictions))


def predictions_row(
    task: Task, data: Mapping[str, Any], name: str, network: str, split: Split, predictions: np.ndarray
) -> Row:
    """Evaluate decoded predictions `[seeds, tracks, ...]` for a split; of the clips of a song, their mean."""
    ids, references = items(task, split)
    if split.groups is not None:
        predictions = song_means(predictions, songs(split.groups)[1]).astype(np.float32)
    score = replace(
        _blank(task, data, name, "baseline"),
        network=network,
        aggregation="song: mean" if split.groups is not None else "",
        predictions=predictions_name(task.name, name),
    )
    return _evaluated(task, name, score, ids, references, predictions)


def _blank(task: Task, data: Mapping[str, Any], encoder: str, kind: str) -> Score:
    """A score before anything is measured."""
    corpus, split, classes = data["corpus"], data["split_fingerprint"], data["classes_fingerprint"]
    nothing = float("nan")
    return Score(task.name, corpus, encoder, kind, task.primary, nothing, nothing, nothing, [], 0, split, classes)


def measured_on(task: Task, data: Mapping[str, Any], representation: Representation) -> Score:
    """The score of probes on a representation, before anything is measured; `data` is what `identify` gives."""
    about = {name: getattr(representation, name) for name in ("network", "block", "tokens", "pooling")}
    return replace(_blank(task, data, representation.encoder, "probe"), **about)


def _evaluated(
    task: Task, label: str, score: Score, ids: Sequence[str], references: np.ndarray, by_seed: np.ndarray
) -> Row:
    """Score predictions `[seeds, items, ...]`; fills in what is measured."""
    scores = [task.score(predictions, references) for predictions in by_seed]
    samples = [resampled(task, predictions, references, RESAMPLES, 0) for predictions in by_seed]
    means = {name: np.mean([sample[name] for sample in samples], axis=0) for name in samples[0] if name in scores[0]}
    metrics, ends = {}, {}
    for name, values in means.items():
        ends[name] = central(f"{task.name}: {name}", values, len(references))
        of_seeds = [one[name] for one in scores]
        metrics[name] = (float(np.mean(of_seeds)), *bounds(name, *ends[name], of_seeds))
    low, high = ends[task.primary]
    measured = replace(
        score,
        score=metrics[task.primary][0],
        low=low,
        high=high,
        seeds=[float(one[task.primary]) for one in scores],
        n=len(references),
        metrics={name: value for name, (value, _, _) in metrics.items()},
    )
    return Row(label, measured, list(ids), by_seed, references, means[task.primary], metrics)


def ahead_of(best: Row, other: Row) -> Difference:
    """How far the best row is ahead of another, with an interval over items (paired) and seeds."""
    both = {
        name: SystemScores(row.score.seeds, row.resampled)
        for name, row in ((f"1 {best.label}", best), (f"2 {other.label}", other))
    }
    return next(iter(differences(both, best.score.n, best.score.metric).values()))


def majority_or_mean(task: Task, targets: np.ndarray, n_items: int) -> np.ndarray:
    """Predict the same for all items: the frequencies of classes or tags in training, the mean of several values.

    For classes this is the majority class, for tags chance; the mean has an R² of 0. A single value (tempo) is
    predicted by its median.

    Args:
        task: To be solved.
        targets: Stacked training targets: multi-hot, probabilities or values `[tracks, n_outputs]`, class numbers or
            single values `[tracks]`.
        n_items: Items to predict for.

    Returns:
        Predictions, float32 `[n_items, n_outputs]`.
    """
    if np.issubdtype(targets.dtype, np.integer):
        targets = np.eye(task.n_outputs)[targets]
    if targets.ndim == 1:
        return np.full((n_items, 1), np.median(targets), dtype=np.float32)
    return np.tile(targets.mean(axis=0, dtype=np.float64).astype(np.float32), (n_items, 1))


def prediction_stores(places: Mapping[str, str], tasks: Mapping[str, Task]) -> list[tuple[str, Task, Store]]:
    """The stores of decoded predictions, for which nothing is trained: name of the row, task, store.

    Args:
        places: By name, a store, or a folder that holds one for every task that its method can solve.
        tasks: Those at hand, by name.

    Raises:
        UserError: There is none, or one does not fit its task.
        StoreError: It is no store of predictions.
    """
    found = []
    for name, place in places.items():
        path = Path(place).expanduser()
        folders = [path] if (path / "header.json").is_file() else [one.parent for one in path.glob("*/header.json")]
        if not folders:
            raise UserError(f"predictions.{name}: {path} is no store of predictions, nor a folder of such")
        for folder in sorted(folders):
            kind = read_header(folder).kind
            if kind == "embeddings":
                raise UserError(
                    f"predictions.{name}: {folder} holds embeddings, for probes to be trained on: give it as "
                    f"embeddings.compare.NAME={folder}"
                )
            store = Store(folder, kind=kind if kind in PREDICTIONS else PREDICTIONS[0])
            task = stated(store, "task", "a text")
            if task in tasks:
                _check_outputs(name, store, tasks[task])
                found.append((name, tasks[task], store))
            elif len(folders) == 1:
                raise UserError(f"predictions.{name}: {unknown('task', task, tasks)} (probe.tasks)")
    return found


def _check_outputs(name: str, store: Store, task: Task) -> None:
    if tuple(store.header.item_shape) != (task.n_outputs,):
        raise UserError(
            f"predictions.{name}: {store.path} holds predictions of shape {list(store.header.item_shape)}, {task.name} "
            f"has {task.n_outputs} outputs ({', '.join(task.classes[:5])}, ...); were other classes meant?"
        )
    classes = stated(store, "classes", "a list of texts")
    if classes is not None and tuple(classes) != task.classes:
        raise UserError(f"predictions.{name}: {store.path} has other classes than {task.name} has here")


def stored_predictions(name: str, store: Store, ids: Sequence[str]) -> np.ndarray:
    """Predictions for some tracks, float32 `[tracks, n_outputs]`.

    Raises:
        UserError: A track has none, or several.
    """
    if missing := sorted(set(ids) - set(store.ids)):
        raise UserError(
            f"predictions.{name}: {store.path} lacks {len(missing)} of {len(ids)} test tracks, one is {missing[0]!r}; "
            f"rows are compared on the same tracks: predict for all of them"
        )
    arrays = [store.read(identity) for identity in ids]
    several = [identity for identity, array in zip(ids, arrays, strict=True) if len(array) != 1]
    if several:
        raise UserError(f"predictions.{name}: {store.path} has several rows of {several[0]!r}, expected one a track")
    return np.concatenate(arrays).astype(np.float32)
