"""Probes of several representations on several tasks, from settings to a run's table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from datasets.corpus import SPLITS, Corpus
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.messages import say
from experiments.probes import grids
from experiments.probes.baselines import MEL_STATISTICS, constant
from experiments.probes.few_shot import fewer
from experiments.probes.light_runs import write_light_runs
from experiments.probes.prediction import command
from experiments.probes.ready_answers import answer_stores, read_answers
from experiments.probes.remarks import (
    say_failures,
    say_missing_classes,
    say_scarce_classes,
    say_ties,
    warn_of_other_audio,
)
from experiments.probes.report import format_table, keep_scores, write_chosen, write_points, write_rows
from experiments.probes.representations import (
    CONSTANT,
    MEL,
    Annotated,
    Representation,
    annotated_tracks,
    labels,
    main_name,
    representations,
)
from experiments.probes.scores import Judged, answer_row, probe_row
from experiments.probes.sweeping import Outcome, Workers, seeds_of, sweep
from experiments.probes.tile_files import Problem
from experiments.probes.vectors import Split
from experiments.progress import progress
from experiments.settings import ProbeExperimentSettings, ProbeSettings
from experiments.tasks.base import Task
from experiments.tracking.run import RunHandle
from experiments.tracks.annotations import shown, tasks_of
from experiments.tracks.data import DataSource, build_task, identify, open_source, read_corpus
from experiments.tracks.examples import check_no_group_leakage, examples, require_nonempty
from experiments.tracks.unmatched import match, report_unannotated


@dataclass
class Found:
    """What a sweep has found so far.

    Attributes:
        rows: By task, in the order of the table.
        trained: Task, label, seed and outcome of every grid.
        best: The row of the embeddings that is best on validation, and its first seed's outcome, by task.
    """

    rows: dict[str, list[Judged]] = field(default_factory=lambda: defaultdict(list))
    trained: list[tuple[str, str, int, Outcome]] = field(default_factory=list)
    best: dict[str, tuple[Judged, Outcome]] = field(default_factory=dict)


def probe(settings: ProbeExperimentSettings, run: RunHandle) -> dict[str, float]:
    """Train the grid on every representation and task, choose on validation, judge once on the test split.

    Returns:
        `task/representation/metric` of the test split.
    """
    compared = representations(settings.embeddings)
    source = open_source(settings.datamodule)
    if "mel_statistics" in settings.embeddings.baselines:
        compared.append(Representation(MEL, (source.features,), MEL_STATISTICS))
    warn_of_other_audio(compared, source)
    tasks, corpus, stored = _tasks(settings, source, compared, run)
    tracks, data = {}, {}
    for name, task in tasks.items():
        report_unannotated(task, corpus, settings.datamodule.max_unmatched, run)
        splits = examples(task, corpus, stored)
        require_nonempty(splits, *SPLITS)
        check_no_group_leakage(splits, corpus)
        tracks[name] = annotated_tracks(splits, corpus)
        say_missing_classes(task, tracks[name])
        say_scarce_classes(task, tracks[name], settings.probe.shots)
        data[name] = identify(corpus, {split: splits[split].ids for split in SPLITS}, task)
        data[name]["split_fingerprint"] += _few(settings.probe)
    run.set_info(target=", ".join(tasks), data=data)
    answers = answer_stores(settings.embeddings.answers, tasks)
    found, named = Found(), labels(compared)
    for row in compared:
        _probe_representation(row, named[row], tasks, tracks, data, settings, run.seed, found)
    test = {name: _split(tracks[name], "test") for name in tasks}
    for name, task in tasks.items():
        if "constant" in settings.embeddings.baselines:
            said = _constant(task, _split(tracks[name], "train"), len(test[name].ids), settings.probe, run.seed)
            found.rows[name].append(answer_row(task, data[name], CONSTANT, "", test[name], said))
    for name, store in answers:
        task, split = tasks[store.header.producer["task"]], test[store.header.producer["task"]]
        said, network = read_answers(name, store, split.ids), store.header.fingerprint or ""
        found.rows[task.name].append(answer_row(task, data[task.name], name, network, split, said[None]))
    return _leave(found, tasks, {name: _split(tracks[name], "train") for name in tasks}, settings, run)


def _few(probe: ProbeSettings) -> str:
    """What a split's name says of training on fewer tracks: such scores are not compared with others."""
    if probe.shots is not None:
        return f", {pluralize(probe.shots, 'shot')}"
    return "" if probe.train_share is None else f", {probe.train_share:g} of the training tracks"


def _leave(
    found: Found,
    tasks: Mapping[str, Task],
    train_of: Mapping[str, Split],
    settings: ProbeExperimentSettings,
    run: RunHandle,
) -> dict[str, float]:
    """Put everything into the run and on the screen."""
    rows = [row for name in tasks for row in found.rows[name]]
    best = {name: row for name, (row, _) in found.best.items()}
    say_ties(found.trained)
    write_rows(rows, best, run)
    for name, (row, outcome) in found.best.items():
        train = fewer(tasks[name], train_of[name], settings.probe.shots, settings.probe.train_share, outcome.probe.seed)
        write_chosen(tasks[name], row, outcome, train.y, len(tasks), run)
    write_points(found.trained, run)
    keep_scores(rows, run)
    if settings.probe.runs:
        write_light_runs(found.trained, {name: task.primary for name, task in tasks.items()}, run)
    say(format_table(rows, best))
    say(_what_next(found, run))
    return {
        f"{row.score.task}/{row.label}/{metric}": value for row in rows for metric, value in row.score.metrics.items()
    }


def _what_next(found: Found, run: RunHandle) -> str:
    """Where everything is, and the commands that go on with it."""
    lines = [
        f"\nscores.csv, pictures (files) and the chosen probes: {run.directory}",
        "next: python ex_probe.py report",
    ]
    for task, (_, outcome) in found.best.items():
        if applied := command("ex_probe.py", outcome.probe.features, run.directory / f"probe_{task}.safetensors"):
            return "\n".join([*lines, f"  or: {applied}"])
    return "\n".join(lines)


def _tasks(
    settings: ProbeExperimentSettings, source: DataSource, compared: Sequence[Representation], run: RunHandle
) -> tuple[dict[str, Task], Corpus, Mapping[str, str]]:
    """The tasks, and the tracks that every representation has."""
    shared = set.intersection(*(row.ids for row in compared))
    if not shared:
        one, other = next((a, b) for a in compared for b in compared if not a.ids & b.ids)
        raise UserError(
            f"{one.encoder} ({one.stores[0].path}) and {other.encoder} ({other.stores[0].path}) have no track in "
            f"common: {min(one.ids, default='nothing')!r}, {min(other.ids, default='nothing')!r}; "
            f"were they made from the same folder?"
        )
    where, labelled = _where(compared, shared), read_corpus(settings.datamodule, source)
    corpus, stored = match(labelled, sorted(shared), where, settings.datamodule.max_unmatched, run)
    tasks: dict[str, Task] = {}
    for name in tasks_of(settings.probe.tasks, corpus):
        corpus, task = build_task(settings.datamodule, corpus, name)
        tasks[task.name] = task
    return tasks, corpus, stored


def _where(compared: Sequence[Representation], shared: Set[str]) -> str:
    """The stores whose tracks are compared, for messages: those that lack a track of another, else the first."""
    every = set().union(*(row.ids for row in compared))
    stores = {str(store.path): store for row in compared for store in row.stores}
    short = [path for path, store in stores.items() if shared != every and not every <= set(store.ids)]
    return shown(short or list(stores)[:1], most=2)


def _probe_representation(
    row: Representation,
    label: str,
    tasks: Mapping[str, Task],
    tracks: Mapping[str, Annotated],
    data: Mapping[str, Any],
    settings: ProbeExperimentSettings,
    seed: int,
    found: Found,
) -> None:
    """Sweep a representation on all tasks and seeds."""
    wanted = sorted({identity for one in tracks.values() for ids in one.ids.values() for identity in ids})
    x, numbers = row.vectors(wanted), {identity: number for number, identity in enumerate(wanted)}
    configs = grids.grid(settings.probe.grid, settings.probe.axes, settings.probe.max_steps)
    seeds, problems, splits = seeds_of(settings.probe.seeds, seed), [], {}
    for name, task in tasks.items():
        splits[name] = tracks[name].splits(numbers, x, row)
        for one in seeds:
            train = fewer(task, splits[name]["train"], settings.probe.shots, settings.probe.train_share, one)
            problems.append(Problem(task, train, splits[name]["valid"], configs, one))
    points = len(problems) * len(configs)
    try:
        with progress(f"probes: {label}", points, "probes") as advance:
            outcomes = sweep(
                problems, Path(settings.probe.tiles_dir), workers(settings), lambda n: _advance(advance, n)
            )
    except KeyboardInterrupt:
        say(f"probes that were trained are kept in {settings.probe.tiles_dir}; give the same command again to go on")
        raise
    if reused := sum(outcome.reused for outcome in outcomes):
        say(f"{label}: {reused} of {pluralize(points, 'probe')} trained before, taken from {settings.probe.tiles_dir}")
    for number, (name, task) in enumerate(tasks.items()):
        own = outcomes[number * len(seeds) : (number + 1) * len(seeds)]
        say_failures(name, label, own)
        judged = probe_row(task, data[name], row, label, splits[name], own)
        found.rows[name].append(judged)
        found.trained += [(name, label, one, outcome) for one, outcome in zip(seeds, own, strict=True)]
        before, main = found.best.get(name), main_name(settings.embeddings)
        if row.encoder == main and (before is None or judged.score.valid > before[0].score.valid):
            found.best[name] = judged, own[0]


def workers(settings: ProbeExperimentSettings) -> Workers:
    """Who computes: on a GPU one process, else one a core where nobody says otherwise."""
    import joblib
    import torch

    probe = settings.probe
    device = probe.device if probe.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("probe.device=cuda: there is no CUDA device here; leave it out")
    jobs = probe.jobs
    if jobs is None and joblib.effective_n_jobs() == 1 and device == "cpu" and probe.scheduler is None:
        jobs = -1
    return Workers(jobs, probe.backend, probe.scheduler, device)


def _advance(advance: Any, points: int) -> None:
    for _ in range(points):
        advance()


def _constant(task: Task, train: Split, items: int, probe: ProbeSettings, seed: int) -> np.ndarray:
    """The constant answer `[seeds, items, ...]` of the tracks that the probes of every seed learn from."""
    seeds = seeds_of(probe.seeds, seed) if probe.shots is not None or probe.train_share is not None else [seed]
    seen = [fewer(task, train, probe.shots, probe.train_share, one).y for one in seeds]
    return np.stack([constant(task, _probabilities(task, y), items) for y in seen])


def _probabilities(task: Task, targets: np.ndarray) -> np.ndarray:
    """Targets as probabilities of classes, where they are classes."""
    import torch

    return task.smooth_labels(torch.from_numpy(targets)).numpy()


def _split(tracks: Annotated, split: str) -> Split:
    """Tracks and targets of a split, for answers that need no vectors."""
    ids, groups = tracks.ids[split], tracks.groups[split] if tracks.groups else None
    return Split(np.zeros((len(ids), 1), np.float32), tracks.targets[split], ids, groups=groups)
