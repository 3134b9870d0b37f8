"""Probes of several representations on several tasks, from settings to a run's table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from datasets.corpus import SPLITS
from datasets.examples import check_no_group_leakage, require_nonempty
from datasets.progress import progress
from datasets.text import enumerated, pluralize
from datasets.vectors import MEL_STATISTICS
from experiments.errors import UserError
from experiments.labels import check_whole
from experiments.messages import say
from experiments.probes.grids import grid
from experiments.probes.halving import trainings
from experiments.probes.prediction import command
from experiments.probes.report import (
    Trained,
    format_table,
    warn_of_failures,
    warn_of_ties,
    write_child_runs,
    write_chosen,
    write_points,
    write_rows,
)
from experiments.probes.representations import MAIN, MAJORITY_OR_MEAN, MEL, Representation, labels, representations
from experiments.probes.rows import (
    Row,
    majority_or_mean,
    prediction_stores,
    predictions_row,
    probe_row,
    stored_predictions,
)
from experiments.probes.splits import (
    LabelledTracks,
    few_shot_subset,
    warn_of_missing_classes,
    warn_of_other_audio,
    warn_of_underrepresented_classes,
)
from experiments.probes.sweep import Outcome, Workers, seeds_of, sweep
from experiments.probes.sweep_files import Problem
from experiments.probes.vectors import Split
from experiments.settings import DatamoduleSettings, ProbeExperimentSettings, ProbeSettings
from experiments.tasks import find
from experiments.tasks.base import Task
from experiments.tracking import RunHandle
from experiments.tracks.annotations import tasks_of
from experiments.tracks.data import DataSource, build_task, identify, open_source, read_corpus
from experiments.tracks.examples import examples
from experiments.tracks.unmatched import match, report_unannotated
from models.probes.grids import ProbeConfig

SHORT = 10_000  # steps: fewer take less time than processes take to start
USUAL = 5_000  # steps of a probe without a limit, at least


@dataclass(frozen=True)
class Labelled:
    """A task with its annotated tracks, and what `identify` says of them."""

    task: Task
    tracks: LabelledTracks
    data: Mapping[str, Any]


@dataclass
class SweepResults:
    """What a sweep has given so far.

    Attributes:
        rows: By task, in the order of the table.
        trained: Every grid.
        best: The row of the embeddings that is best on validation, and its first seed's outcome, by task.
    """

    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    trained: list[Trained] = field(default_factory=list)
    best: dict[str, tuple[Row, Outcome]] = field(default_factory=dict)


def probe(settings: ProbeExperimentSettings, run: RunHandle) -> dict[str, float]:
    """Train the grid on every representation and task, choose on validation, evaluate once on the test split.

    Returns:
        `task/representation/metric` of the test split.
    """
    embeddings, probes = settings.embeddings, settings.probe
    compared = representations(embeddings)
    source = open_source(settings.datamodule)
    if "mel_statistics" in embeddings.baselines and source.audio:
        say(f"{source.base_dir} holds audio: the row {MEL!r} is left out (embeddings.baselines=[majority_or_mean])")
    elif "mel_statistics" in embeddings.baselines:
        compared.append(Representation(MEL, (source.features,), MEL_STATISTICS))
    warn_of_other_audio(compared, source)
    problems = _labelled(settings.datamodule, probes, source, compared, run)
    data = {name: one.data for name, one in problems.items()}
    run.set_info(target=", ".join(problems), data=data)
    stores = prediction_stores(embeddings.predictions, {name: one.task for name, one in problems.items()})
    configs, seeds = grid(probes.grid, probes.axes, probes.max_steps), seeds_of(probes.seeds, run.seed)
    results, named = SweepResults(), labels(compared)
    for representation in compared:
        main = representation.encoder == (embeddings.name or MAIN)
        _probe_representation(representation, named[representation], main, problems, configs, seeds, probes, results)
    for name, one in problems.items():
        if "majority_or_mean" in embeddings.baselines:
            train, test = one.tracks.split("train"), one.tracks.split("test")
            few = probes.shots is not None or probes.train_share is not None
            subsets = [_few_shot(one.task, train, probes, seed) for seed in (seeds if few else [run.seed])]
            made = [majority_or_mean(one.task, _probabilities(one.task, of.y), len(test.ids)) for of in subsets]
            results.rows[name].append(predictions_row(one.task, data[name], MAJORITY_OR_MEAN, "", test, np.stack(made)))
    for name, task, store in stores:
        test = problems[task.name].tracks.split("test")
        made, network = stored_predictions(name, store, test.ids)[None], store.header.fingerprint or ""
        results.rows[task.name].append(predictions_row(task, data[task.name], name, network, test, made))
    return _finish(results, problems, embeddings.ahead, probes, run)


def _few_shot(task: Task, train: Split, probes: ProbeSettings, seed: int) -> Split:
    return few_shot_subset(task, train, probes.shots, probes.train_share, seed)


def _probabilities(task: Task, targets: np.ndarray) -> np.ndarray:
    """Targets as probabilities of classes, where they are classes."""
    import torch

    return task.smooth_labels(torch.from_numpy(targets)).numpy()


def _finish(
    results: SweepResults,
    problems: Mapping[str, Labelled],
    ahead: Mapping[str, str],
    probes: ProbeSettings,
    run: RunHandle,
) -> dict[str, float]:
    """Put everything into the run and on the screen."""
    rows = [row for name in problems for row in results.rows[name]]
    best = {name: row for name, (row, _) in results.best.items()}
    warn_of_ties(results.trained)
    table = format_table(rows, best, ahead)
    write_rows(rows, best, table, run)
    for name, (row, outcome) in results.best.items():
        task = problems[name].task
        train = _few_shot(task, problems[name].tracks.split("train"), probes, outcome.probe.seed)
        write_chosen(task, row, outcome, train.y, len(problems), run)
    write_points(results.trained, run)
    if probes.runs:
        write_child_runs(results.trained, {name: one.task.primary for name, one in problems.items()}, run)
    say(table)
    say(f"\nscores.csv, pictures (files) and the chosen probes: {run.directory}\nnext: python ex_probe.py report")
    for name, (_, outcome) in results.best.items():
        if apply := command("ex_probe.py", outcome.probe.features, run.directory / f"probe_{name}.safetensors"):
            say(f"  or: {apply}")
            break
    return {
        f"{row.score.task}/{row.label}/{metric}": value for row in rows for metric, value in row.score.metrics.items()
    }


def _labelled(
    datamodule: DatamoduleSettings,
    probes: ProbeSettings,
    source: DataSource,
    compared: Sequence[Representation],
    run: RunHandle,
) -> dict[str, Labelled]:
    """The tasks by name, with the annotated tracks that every representation has.

    Raises:
        UserError: There are none.
    """
    shared = set.intersection(*(row.ids for row in compared))
    if not shared:
        one, other = next((a, b) for a in compared for b in compared if not a.ids & b.ids)
        raise UserError(
            f"{one.encoder} ({one.stores[0].path}) and {other.encoder} ({other.stores[0].path}) have no track in "
            f"common: {min(one.ids, default='nothing')!r}, {min(other.ids, default='nothing')!r}; "
            f"were they made from the same folder?"
        )
    where = _where(compared, shared)
    corpus, stored = match(read_corpus(datamodule, source), sorted(shared), where, datamodule.max_unmatched, run)
    tasks: dict[str, Task] = {}
    for name in tasks_of(probes.tasks, corpus):
        check_whole(find(name), "a probe has")
        corpus, task = build_task(datamodule, corpus, name)
        tasks[task.name] = task
    few = ""  # of the name of a split: scores of few-shot subsets are not compared with others
    if probes.shots is not None:
        few = f", {pluralize(probes.shots, 'shot')}"
    elif probes.train_share is not None:
        few = f", {probes.train_share:g} of the training tracks"
    problems = {}
    for name, task in tasks.items():
        report_unannotated(task, corpus, datamodule.max_unmatched, run)
        splits = examples(task, corpus, stored)
        require_nonempty(splits, *SPLITS)
        check_no_group_leakage(splits, corpus)
        tracks = LabelledTracks.of(splits, corpus)
        warn_of_missing_classes(task, tracks)
        warn_of_underrepresented_classes(task, tracks, probes.shots)
        data = identify(corpus, {split: splits[split].ids for split in SPLITS}, task)
        problems[name] = Labelled(task, tracks, data | {"split_fingerprint": data["split_fingerprint"] + few})
    return problems


def _where(compared: Sequence[Representation], shared: Set[str]) -> str:
    """The stores whose tracks are compared, for messages: those that lack a track of another, else the first."""
    every = set().union(*(row.ids for row in compared))
    stores = {str(store.path): store for row in compared for store in row.stores}
    short = [path for path, store in stores.items() if shared != every and not every <= set(store.ids)]
    return enumerated(short or list(stores)[:1], most=2)


def _probe_representation(
    representation: Representation,
    label: str,
    main: bool,
    problems: Mapping[str, Labelled],
    configs: tuple[ProbeConfig, ...],
    seeds: Sequence[int],
    probes: ProbeSettings,
    results: SweepResults,
) -> None:
    """Sweep a representation on all tasks and seeds; the best of the main encoder is remembered."""
    wanted = sorted({identity for one in problems.values() for ids in one.tracks.ids.values() for identity in ids})
    x, numbers = representation.vectors(wanted), {identity: number for number, identity in enumerate(wanted)}
    to_train, splits = [], {}
    for name, one in problems.items():
        splits[name] = {
            split: one.tracks.split(split, x[[numbers[identity] for identity in ids]], representation)
            for split, ids in one.tracks.ids.items()
        }
        for seed in seeds:
            train = _few_shot(one.task, splits[name]["train"], probes, seed)
            to_train.append(Problem(one.task, train, splits[name]["valid"], configs, seed))
    points = len(to_train) * len(configs)
    try:
        with progress(f"probes: {label}", len(to_train) * trainings(configs, probes.early), "probes") as advance:

            def finished(n: int) -> None:
                for _ in range(n):
                    advance()

            steps = len(to_train) * sum(config.max_steps or USUAL for config in configs)
            outcomes = sweep(to_train, Path(probes.sweep_dir), workers(probes, steps), finished, probes.early)
    except KeyboardInterrupt:
        say(f"probes that were trained are kept in {probes.sweep_dir}; give the same command again to go on")
        raise
    if reused := sum(outcome.reused for outcome in outcomes):
        say(f"{label}: {reused} of {pluralize(points, 'probe')} trained before, taken from {probes.sweep_dir}")
    if stopped := sum(len(outcome.stopped) for outcome in outcomes):
        say(f"{label}: {stopped} of {pluralize(points, 'probe')} fell behind and were ended early (probe.early)")
    for number, (name, one) in enumerate(problems.items()):
        own = outcomes[number * len(seeds) : (number + 1) * len(seeds)]
        warn_of_failures(name, label, own)
        evaluated = probe_row(one.task, one.data, representation, label, splits[name], own)
        results.rows[name].append(evaluated)
        results.trained += [Trained(name, label, seed, outcome) for seed, outcome in zip(seeds, own, strict=True)]
        best = results.best.get(name)
        if main and (best is None or evaluated.score.valid > best[0].score.valid):
            results.best[name] = evaluated, own[0]


def workers(probes: ProbeSettings, steps: int) -> Workers:
    """Who computes where nobody says otherwise: one process a core, on a GPU and for short work this one alone.

    Args:
        probes: Settings.
        steps: That all probes may take.
    """
    import joblib
    import torch

    device = probes.device if probes.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("probe.device=cuda: there is no CUDA device here; leave it out")
    jobs = probes.jobs
    unsaid = jobs is None and probes.scheduler is None and joblib.effective_n_jobs(None) == 1
    if unsaid and device == "cpu" and steps > SHORT:
        jobs = -1
    return Workers(jobs, probes.backend, probes.scheduler, device)
