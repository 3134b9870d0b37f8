"""A grid of probes trained one by one, which what is trained together is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.single_probe import Diverged, fit
from experiments.probes.fitted import FittedProbe
from experiments.probes.vectors import Split
from experiments.tasks.base import Task
from models.probes.grids import ProbeConfig


@dataclass(frozen=True)
class Result:
    """What became of one point of a grid: a probe, or the reason there is none."""

    config: ProbeConfig
    probe: FittedProbe | None
    failure: str | None = None


def search(task: Task, train: Split, valid: Split, configs: Sequence[ProbeConfig], seed: int) -> list[Result]:
    """A probe at every point of a grid; one that diverges is recorded and the others go on."""
    results = []
    for config in configs:
        try:
            results.append(Result(config, fit(task, train, valid, config, seed)))
        except Diverged as error:
            results.append(Result(config, None, str(error)))
    return results


def best(results: Sequence[Result]) -> FittedProbe:
    """The largest primary metric on validation, then the smallest validation loss, then the first of the grid."""
    probes = [result.probe for result in results if result.probe is not None]
    return min(probes, key=lambda probe: (-probe.value, probe.loss))
