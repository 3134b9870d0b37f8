"""Grids of probes on several problems, shared out over cores or a cluster in batches of probes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets.workers import workers as processes
from experiments.errors import UserError
from experiments.probes.fitted import FittedProbe, train_batch
from experiments.probes.halving import Early, rungs
from experiments.probes.sweep_files import Problem, Record, SweepFiles
from experiments.probes.validation import check_splits
from experiments.probes.vectors import Split
from experiments.tasks.base import Task
from models.probes.grids import ProbeConfig
from preprocess.cluster import ClusterError, connected

CURVE_POINTS = 24  # kept of every probe's curve
Part = tuple[int, list[int]]  # a batch of probes: number of the problem, numbers of points
Trained = tuple[Part, list[Record], FittedProbe | None]  # what became of every point, and the best probe


@dataclass(frozen=True)
class Outcome:
    """What a grid ends with.

    Attributes:
        probe: The best on validation.
        records: Of all points, in the order of the grid.
        reused: Points that had been trained to their end before.
    """

    probe: FittedProbe
    records: tuple[Record, ...]
    reused: int = 0

    @property
    def failed(self) -> list[Record]:
        """Points whose outputs became infinite."""
        return [record for record in self.records if record.failure is not None]

    @property
    def tied(self) -> list[Record]:
        """Points with the metric of the best one, itself included; the smaller loss, then the grid, decided."""
        return [record for record in self.records if record.value == self.probe.value and not record.early]

    @property
    def stopped(self) -> list[Record]:
        """Points that were not trained to their end."""
        return [record for record in self.records if record.early]


@dataclass(frozen=True)
class Workers:
    """Who computes.

    Attributes:
        jobs: Processes, -1 for one a core; None leaves it to `joblib.parallel_config`.
        backend: Of joblib, e.g. `loky`, `threading`; None leaves it to `joblib.parallel_config`.
        scheduler: Address of a Dask scheduler, whose workers compute in place of joblib's.
        device: Where the arithmetic is done.
    """

    jobs: int | None = None
    backend: str | None = None
    scheduler: str | None = None
    device: str = "cpu"

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Joblib as these settings have it.

        Raises:
            UserError: There is no such backend.
        """
        import joblib

        given = {"n_jobs": self.jobs, "backend": self.backend}
        try:
            chosen = joblib.parallel_config(**{name: value for name, value in given.items() if value is not None})
        except (ValueError, ImportError) as error:
            hint = "; for a Dask cluster give probe.scheduler=tcp://HOST:8786" if self.backend == "dask" else ""
            raise UserError(f"probe.backend={self.backend}: {str(error).splitlines()[0]}{hint}") from None
        with chosen:
            yield


def sweep(
    problems: Sequence[Problem],
    folder: Path,
    workers: Workers | None = None,
    on_points: Callable[[int], None] = lambda points: None,
    early: Early | None = None,
) -> list[Outcome]:
    """Train the grids of some problems; parts that are in the folder are not trained again.

    Args:
        problems: Each with a grid.
        folder: Gets the files of every finished batch of probes, at once.
        workers: Who computes; None leaves it to `joblib.parallel_config`.
        on_points: Called with the number of points whenever some are finished; `trainings` says how many there will be.
        early: Which points are not trained to their end, see `experiments.probes.halving`; None: all are.

    Returns:
        The outcomes, in the order of the problems.

    Raises:
        UserError: The splits of a problem do not fit together, or all of its probes failed.
    """
    workers = workers or Workers()
    left = [list(range(len(problem.configs))) for problem in problems]
    stopped: list[list[Record]] = [[] for _ in problems]
    for rung in rungs(early, problems[0].configs if problems else ()):
        limited = [replace(problem, configs=rung.limited(problem.configs)) for problem in problems]
        for number, found in enumerate(_train_points(limited, left, folder, workers, on_points)):
            left[number], ended = rung.survivors(problems[number].configs, found.records)
            stopped[number] += ended
    trained = _train_points(problems, left, folder, workers, on_points)
    return [_outcome(*one, workers.device) for one in zip(trained, stopped, strict=True)]


@dataclass
class _Grid:
    """A problem, its files, and the records of its finished batches of probes."""

    problem: Problem
    files: SweepFiles
    finished: dict[tuple[int, ...], list[Record]] = field(default_factory=dict)
    reused: int = 0

    @property
    def records(self) -> list[Record]:
        """In the order of the grid."""
        return sorted((record for part in self.finished.values() for record in part), key=lambda record: record.number)


def _train_points(
    problems: Sequence[Problem],
    points: Sequence[Sequence[int]],
    folder: Path,
    workers: Workers,
    on_points: Callable[[int], None],
) -> list[_Grid]:
    """Train some points of every problem; parts that are in the folder are not trained again."""
    grids = [_Grid(problem, SweepFiles(folder, problem)) for problem in problems]
    left: list[Part] = []
    for number, part in _parts(problems, points, workers.device):
        if (records := grids[number].files.read(part)) is None:
            left.append((number, part))
            continue
        grids[number].finished[tuple(part)] = records
        grids[number].reused += len(part)
    on_points(sum(one.reused for one in grids))
    if left:
        train = _by_cluster if workers.scheduler else _by_joblib
        with contextlib.closing(train(problems, left, workers)) as trained:
            for (number, part), records, best in trained:
                grids[number].files.write(part, records, best)
                grids[number].finished[tuple(part)] = records
                on_points(len(part))
    return grids


def _parts(problems: Sequence[Problem], points: Sequence[Sequence[int]], device: str) -> list[Part]:
    """Batches of probes of some points of all problems, the longest work first."""
    from models.probes.batched import batches_of_probes

    parts = []
    for number, (problem, wanted) in enumerate(zip(problems, points, strict=True)):
        check_splits(problem.task, problem.train, problem.valid)
        width, layers, outputs = problem.train.x.shape[1], problem.train.layers, problem.task.n_outputs
        configs = [problem.configs[point] for point in wanted]
        for batch in batches_of_probes(configs, width // layers, outputs, device.partition(":")[0], layers):
            first = configs[batch[0]]
            work = len(batch) * (first.hidden or outputs) * min(first.batch_size, len(problem.train.x))
            parts.append((work * width, number, [wanted[place] for place in batch]))
    return [(number, part) for _, number, part in sorted(parts, key=lambda part: -part[0])]


def _by_joblib(problems: Sequence[Problem], left: Sequence[Part], workers: Workers) -> Iterator[Trained]:
    """Train parts in the processes, or whatever else, that joblib has; back they come in any order."""
    import joblib

    with workers.ready():
        try:
            parallel = processes(return_as="generator_unordered", batch_size=1)
        except ValueError:  # a backend that gives all back at the end
            parallel = processes(batch_size=1)
        jobs = joblib.effective_n_jobs(parallel.n_jobs)
        threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
        yield from parallel(
            joblib.delayed(_train)(part, *_arguments(problems[part[0]], part[1]), workers.device, threads)
            for part in left
        )


def _by_cluster(problems: Sequence[Problem], left: Sequence[Part], workers: Workers) -> Iterator[Trained]:
    """Train parts on the workers of a Dask cluster, which get the vectors of a problem once."""
    try:
        with connected(workers.scheduler, "probe.scheduler", "models.probes.batched") as cluster:
            sent: dict[int, Any] = {}

            def calls() -> Iterator[tuple[Any, ...]]:
                for part in left:
                    task, train, valid, *rest = _arguments(problems[part[0]], part[1])
                    for split in (train, valid):
                        if id(split) not in sent:
                            sent[id(split)] = cluster.share(split)
                    yield part, task, sent[id(train)], sent[id(valid)], *rest, workers.device, None

            yield from cluster.unordered(_train, calls())
    except ClusterError as error:
        raise UserError(str(error)) from error


def _arguments(problem: Problem, points: Sequence[int]) -> tuple[Task, Split, Split, dict[int, ProbeConfig], int]:
    return problem.task, problem.train, problem.valid, {one: problem.configs[one] for one in points}, problem.seed


def _train(
    part: Part,
    task: Task,
    train: Split,
    valid: Split,
    configs: Mapping[int, ProbeConfig],
    seed: int,
    device: str,
    threads: int | None,
) -> Trained:
    """Train a batch of probes in a worker, with so many threads; None leaves them as they are."""
    import torch

    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    results = train_batch(task, train, valid, configs, seed, device)
    records = []
    for number, probe in ((number, results[number]) for number in configs):
        if probe.failure:
            records.append(Record(number, probe.config, failure=probe.failure))
            continue
        best = (probe.value, probe.loss, probe.best_step, probe.stop_step)
        records.append(Record(number, probe.config, *best, curve=thinned(probe.curve, probe.best_step, CURVE_POINTS)))
    best = results[min(records, key=lambda record: record.rank).number]
    return part, records, None if best.failure else FittedProbe.of(best, task, seed, train.features)


def thinned(curve: Sequence[tuple[int, float]], best_step: int, most: int) -> tuple[tuple[int, float], ...]:
    """Evenly spaced points of a curve, with its ends and its best step."""
    if len(curve) <= most:
        return tuple(curve)
    rows = set(np.linspace(0, len(curve) - 1, most - 1).round().astype(int).tolist())
    rows |= {row for row, (step, _) in enumerate(curve) if step == best_step}
    return tuple(curve[row] for row in sorted(rows))


def _outcome(grid: _Grid, stopped: Sequence[Record], device: str) -> Outcome:
    best = min(grid.records, key=lambda record: record.rank)
    if best.value is None:
        raise UserError(f"none of {len(grid.records) + len(stopped)} probes could be trained: {best.failure}")
    points = next(points for points, part in grid.finished.items() if best in part)
    probe = grid.files.probe(points)
    if probe is None:  # its file was deleted
        _, again, probe = _train((0, list(points)), *_arguments(grid.problem, points), device, None)
        grid.files.write(points, again, probe)
    grid.files.keep_probe(points)
    records = sorted([*grid.records, *stopped], key=lambda record: record.number)
    return Outcome(probe, tuple(records), grid.reused)


def seeds_of(seeds: int | Sequence[int] | None, seed: int) -> list[int]:
    """The seeds that settings ask for: those given, so many from the run's on, or the run's alone."""
    if seeds is None:
        return [seed]
    return [seed + number for number in range(seeds)] if isinstance(seeds, int) else list(dict.fromkeys(seeds))
