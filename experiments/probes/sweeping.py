"""Grids of probes on several problems, shared out over cores or a cluster by joblib, tile by tile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.workers import workers as processes
from experiments.errors import UserError
from experiments.probes.fitted import FittedProbe, ProbeConfig
from experiments.probes.probing import checked
from experiments.probes.tile_files import Problem, Record, TileFiles, record_of
from experiments.probes.vectors import Split
from experiments.tasks.base import Task
from preprocess.cluster import ClusterError, connected

Tile = tuple[int, list[int]]  # number of the problem, numbers of points
Trained = tuple[Tile, list[Record], FittedProbe | None]  # what became of every point, and the best probe


@dataclass(frozen=True)
class Outcome:
    """What a grid ends with.

    Attributes:
        probe: The best on validation.
        records: Of all points, in the order of the grid.
        reused: Points that had been trained before.
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
        return [record for record in self.records if record.value == self.probe.value]


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
) -> list[Outcome]:
    """Train the grids of some problems; tiles that are in the folder are not trained again.

    Args:
        problems: Each with a grid.
        folder: Gets a file for every finished tile, at once.
        workers: Who computes; None leaves it to `joblib.parallel_config`.
        on_points: Called with the number of points of every tile that is there.

    Returns:
        The outcomes, in the order of the problems.

    Raises:
        UserError: The splits of a problem do not fit together, or all of its probes failed.
    """
    workers = workers or Workers()
    files = [TileFiles(folder, problem) for problem in problems]
    dealt = _dealt(problems, workers.device)
    found: dict[tuple[int, tuple[int, ...]], list[Record]] = {}
    for number, tile in dealt:
        if (records := files[number].read(tile)) is not None:
            found[number, tuple(tile)] = records
    reused = [sum(len(tile) for of, tile in found if of == number) for number in range(len(problems))]
    on_points(sum(reused))
    left = [(number, tile) for number, tile in dealt if (number, tuple(tile)) not in found]
    _work(problems, files, left, found, workers, on_points)
    outcomes = []
    for number, problem in enumerate(problems):
        tiles = {tile: records for (of, tile), records in found.items() if of == number}
        outcomes.append(_outcome(problem, files[number], tiles, workers, reused[number]))
    return outcomes


def _dealt(problems: Sequence[Problem], device: str) -> list[Tile]:
    """The tiles of all problems, the longest work first."""
    from experiments.probes.sweep import tiles

    dealt = []
    for number, problem in enumerate(problems):
        checked(problem.task, problem.train, problem.valid)
        width, layers = problem.train.x.shape[1], problem.train.layers
        for tile in tiles(problem.configs, width // layers, problem.task.n_outputs, device.partition(":")[0], layers):
            first = problem.configs[tile[0]]
            work = len(tile) * (first.hidden or problem.task.n_outputs) * min(first.batch_size, len(problem.train.x))
            dealt.append((work * width, number, tile))
    return [(number, tile) for _, number, tile in sorted(dealt, key=lambda one: -one[0])]


def _work(
    problems: Sequence[Problem],
    files: Sequence[TileFiles],
    left: Sequence[Tile],
    found: dict[tuple[int, tuple[int, ...]], list[Record]],
    workers: Workers,
    on_points: Callable[[int], None],
) -> None:
    """Train what is left and keep every tile when it is there."""
    if not left:
        return
    trained = _by_cluster if workers.scheduler else _by_joblib
    with contextlib.closing(trained(problems, left, workers)) as outcomes:
        for (number, tile), records, best in outcomes:
            files[number].write(tile, records, best)
            found[number, tuple(tile)] = records
            on_points(len(tile))


def _by_joblib(problems: Sequence[Problem], left: Sequence[Tile], workers: Workers) -> Iterator[Trained]:
    """Train tiles in the processes, or whatever else, that joblib has; back they come in any order."""
    import joblib

    with workers.ready():
        try:
            parallel = processes(return_as="generator_unordered", batch_size=1)
        except ValueError:  # a backend that gives all back at the end
            parallel = processes(batch_size=1)
        threads = _threads(joblib.effective_n_jobs(parallel.n_jobs))
        yield from parallel(
            joblib.delayed(_train)((number, tile), *_parts(problems[number], tile), workers.device, threads)
            for number, tile in left
        )


def _by_cluster(problems: Sequence[Problem], left: Sequence[Tile], workers: Workers) -> Iterator[Trained]:
    """Train tiles on the workers of a Dask cluster, which get the vectors of a problem once."""
    try:
        with connected(workers.scheduler, "probe.scheduler", "experiments.probes.sweep") as cluster:
            sent: dict[int, Any] = {}

            def calls() -> Iterator[tuple[Any, ...]]:
                for number, tile in left:
                    task, train, valid, *rest = _parts(problems[number], tile)
                    for split in (train, valid):
                        if id(split) not in sent:
                            sent[id(split)] = cluster.share(split)
                    yield (number, tile), task, sent[id(train)], sent[id(valid)], *rest, workers.device, None

            yield from cluster.unordered(_train, calls())
    except ClusterError as error:
        raise UserError(str(error)) from error


def _parts(problem: Problem, tile: Sequence[int]) -> tuple[Task, Split, Split, dict[int, ProbeConfig], int]:
    return problem.task, problem.train, problem.valid, {one: problem.configs[one] for one in tile}, problem.seed


def _threads(jobs: int) -> int | None:
    """Of torch in a worker: the cores shared out; None leaves it as it is, where there is one worker."""
    return max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None


def _train(
    tile: Tile,
    task: Task,
    train: Split,
    valid: Split,
    configs: Mapping[int, ProbeConfig],
    seed: int,
    device: str,
    threads: int | None,
) -> Trained:
    """Train a tile in a worker; back comes what became of every point, and the best probe."""
    import torch

    from experiments.probes.sweep import train_tile

    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    results = train_tile(task, train, valid, configs, seed, device)
    records = [record_of(number, results[number]) for number in configs]
    return tile, records, results[min(records, key=lambda record: record.rank).number].probe


def _outcome(
    problem: Problem,
    files: TileFiles,
    tiles: Mapping[tuple[int, ...], Sequence[Record]],
    workers: Workers,
    reused: int,
) -> Outcome:
    records = sorted((record for part in tiles.values() for record in part), key=lambda record: record.number)
    best = min(records, key=lambda record: record.rank)
    if best.value is None:
        raise UserError(f"none of {len(records)} probes could be trained: {best.failure}")
    tile = next(tile for tile, part in tiles.items() if best in part)
    probe = files.probe(tile)
    if probe is None:  # its file was deleted
        _, again, probe = _train((0, list(tile)), *_parts(problem, tile), workers.device, None)
        files.write(tile, again, probe)
    files.keep_probe(tile)
    return Outcome(probe, tuple(records), reused)


def seeds_of(seeds: int | Sequence[int] | None, seed: int) -> list[int]:
    """The seeds that settings ask for: those given, so many from the run's on, or the run's alone."""
    if seeds is None:
        return [seed]
    return [seed + number for number in range(seeds)] if isinstance(seeds, int) else list(dict.fromkeys(seeds))
