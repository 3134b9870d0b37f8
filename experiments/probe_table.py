"""Probes of several representations on the same tracks: one table, one row a representation."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.corpus import SPLITS, Corpus
from datasets.store import Reader, Store
from experiments import probing, reports
from experiments.baselines import MEL_STATISTICS, constant
from experiments.class_report import write_test_report
from experiments.data import (
    Source,
    build_task,
    identify,
    match,
    open_source,
    read_corpus,
    say,
)
from experiments.errors import UserError
from experiments.examples import examples, need
from experiments.extraction import made_of_other
from experiments.intervals import difference, interval
from experiments.probes import FittedProbe
from experiments.progress import progress
from experiments.settings import ROWS, EmbeddingsSettings, ProbeExperimentSettings
from experiments.tasks.base import Task
from experiments.tracking.run import RunHandle
from experiments.vectors import Reduction, Split, load_split, token_reduction

MAIN, MEL, CONSTANT = ROWS


@dataclass(frozen=True)
class Representation:
    """A row of the table: a store and how a track of it becomes a vector."""

    name: str
    store: Reader
    reduction: Reduction


@dataclass(frozen=True)
class Row:
    """What a representation scored on the test split of a task.

    Attributes:
        task: Name.
        representation: Name.
        probe: The chosen configuration.
        metric: Name of the metric.
        value: On all test tracks.
        low: Lower end of the 95 % bootstrap interval over tracks.
        high: Upper end.
        behind_low: Lower end of the interval of how far it is behind the embeddings, paired over tracks.
        behind_high: Upper end; above zero at both ends, the difference is more than chance.
        n_items: Test tracks.
    """

    task: str
    representation: str
    probe: str
    metric: str
    value: float
    low: float
    high: float
    behind_low: float | None
    behind_high: float | None
    n_items: int


def probe(settings: ProbeExperimentSettings, run: RunHandle) -> dict[str, float]:
    """Probe every representation on every task.

    Returns:
        `task/representation/metric` of the test split.
    """
    compared = stores(settings.embeddings)
    probing.grid(settings.probe.grid)
    source = open_source(settings.datamodule)
    if "mel_statistics" in settings.embeddings.baselines:
        compared.append(Representation(MEL, source.features, MEL_STATISTICS))
    warn_of_other_audio(compared, source)
    shared = set.intersection(*(set(row.store.ids) for row in compared))
    where = Path(settings.embeddings.store or "")
    corpus, stored = match(read_corpus(settings.datamodule, source), sorted(shared), where)
    tasks: list[Task] = []
    for name in dict.fromkeys(settings.probe.tasks):
        corpus, task = build_task(settings.datamodule, corpus, name)
        tasks.append(task)
    data = {}
    for task in tasks:
        splits = examples(task, corpus, stored)
        need(splits, *SPLITS)
        data[task.name] = identify(corpus, {split: splits[split].ids for split in SPLITS}, task)
    run.set_info(data=data)
    rows: list[Row] = []
    for task in tasks:
        rows += _probe_task(task, corpus, stored, compared, settings, run)
    _write_table(rows, run)
    say(format_table(rows))
    return {f"{row.task}/{row.representation}/{row.metric}": row.value for row in rows}


def stores(embeddings: EmbeddingsSettings) -> list[Representation]:
    """The embedding stores that were named.

    Raises:
        UserError: None was named, or it is not there.
        StoreError: One holds something else.
    """
    if embeddings.store is None:
        raise UserError(
            "embeddings.store is not set: name a store of embeddings, which "
            "`python ex_pretrain.py extract_embeddings with ...` writes and names at its end"
        )
    reduction = token_reduction(embeddings.tokens)
    rows = []
    for name, place in {MAIN: embeddings.store, **embeddings.compare}.items():
        path = Path(place).expanduser()
        if not (path / "header.json").is_file():
            inside = sorted(str(header.parent) for header in path.glob("*/header.json"))
            hint = f"there is {', '.join(inside)}" if inside else "`make demo` writes those of the config demo"
            raise UserError(f"{name}: {path} is no store of embeddings; {hint}")
        rows.append(Representation(name, Store(path, kind="embeddings"), reduction))
    return rows


def warn_of_other_audio(compared: Sequence[Representation], source: Source) -> None:
    """Say so where a store of embeddings was not made from these features, though its tracks have the same names."""
    for row in compared:
        if isinstance(row.store, Store) and row.store.header.kind == "embeddings":
            other = made_of_other(row.store, source.features, source.features.ids)
            if other:
                say(
                    f"{row.store.path}: {len(other)} tracks were not made from the audio of that name in "
                    f"{source.base_dir}, {other[0]} for instance; is datamodule.base_dir right?"
                )


def _probe_task(
    task: Task,
    corpus: Corpus,
    stored: Mapping[str, str],
    compared: Sequence[Representation],
    settings: ProbeExperimentSettings,
    run: RunHandle,
) -> list[Row]:
    annotation = task.annotation
    ids = {split: [stored[track.id] for track in corpus.split(split)] for split in SPLITS}
    annotations = {stored[track.id]: track.annotations.get(annotation) for track in corpus}
    answers: dict[str, np.ndarray] = {}
    rows: list[Row] = []
    for row in compared:
        splits = {split: load_split(row.store, ids[split], task, annotations, row.reduction) for split in SPLITS}
        chosen = _choose(task, row.name, splits, settings, run)
        answers[row.name] = chosen.predict(splits["test"])
        rows += _rows(task, row.name, chosen.config.describe(), answers, splits["test"].y, run.seed)
        if row.name == MAIN:
            _report(task, chosen, answers[MAIN], splits["test"].y, run)
    if "constant" in settings.embeddings.baselines:
        answers[CONSTANT] = constant(task, splits["train"].y, len(splits["test"].ids))
        rows += _rows(task, CONSTANT, "none", answers, splits["test"].y, run.seed)
    return rows


def _choose(
    task: Task, name: str, splits: Mapping[str, Split], settings: ProbeExperimentSettings, run: RunHandle
) -> FittedProbe:
    configs = probing.grid(settings.probe.grid)
    with progress(f"{task.name}: {name}", len(configs), "probes") as advance:
        results = probing.search(
            task, splits["train"], splits["valid"], configs, run.seed, on_result=lambda _: advance()
        )
    return probing.choose(results).probe


def _report(task: Task, chosen: FittedProbe, predictions: np.ndarray, references: np.ndarray, run: RunHandle) -> None:
    for step, value in chosen.curve:
        run.log_scalar(f"probe/{task.name}_{task.primary}", value, step)
    write_test_report(task, predictions, references, run, suffix=f"_{task.name}")
    run.add_artifact(chosen.save(run.directory / f"probe_{task.name}.safetensors"))


def _rows(
    task: Task, name: str, config: str, answers: Mapping[str, np.ndarray], references: np.ndarray, seed: int
) -> list[Row]:
    scores = task.score(answers[name], references)
    ends = interval(task, answers[name], references, seed=seed)
    lost = {} if name == MAIN else difference(task, answers[MAIN], answers[name], references, seed=seed)
    n_items = int(scores["n_items"])
    return [
        Row(task.name, name, config, metric, value, *ends[metric], *lost.get(metric, (None, None)), n_items)
        for metric, value in scores.items()
        if metric in ends
    ]


def format_table(rows: Sequence[Row]) -> str:
    """The rows as text: a block a task, a line a representation, a column a metric with its interval."""
    lines = []
    for task in dict.fromkeys(row.task for row in rows):
        of_task = [row for row in rows if row.task == task]
        metrics = list(dict.fromkeys(row.metric for row in of_task))
        heads = [*metrics, f"behind in {metrics[0]}"]
        lines += [
            "",
            f"{task}, {of_task[0].n_items} test tracks, 95 % interval over tracks",
            " " * 20 + _cells(heads),
        ]
        for name in dict.fromkeys(row.representation for row in of_task):
            found = {row.metric: row for row in of_task if row.representation == name}
            cells = [f"{found[m].value:.3f} [{found[m].low:.3f}, {found[m].high:.3f}]" for m in metrics]
            first = found[metrics[0]]
            if first.behind_low is not None:
                cells.append(f"{first.behind_low:+.3f} to {first.behind_high:+.3f}")
            lines.append(f"{name:<20}" + _cells(cells))
    return "\n".join(lines)


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"{cell:<24}" for cell in cells).rstrip()


def _write_table(rows: Sequence[Row], run: RunHandle) -> None:
    table = run.directory / "probes.csv"
    with table.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(Row.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(vars(row) for row in rows)
    run.add_artifact(table)
    for task in dict.fromkeys(row.task for row in rows):
        of_task = [row for row in rows if row.task == task]
        metric = of_task[0].metric
        bars = {row.representation: (row.value, row.low, row.high) for row in of_task if row.metric == metric}
        picture = reports.comparison_bars(
            bars, metric, run.directory / f"probes_{task}.png", title=f"{task}, {of_task[0].n_items} tracks"
        )
        run.add_artifact(picture)
