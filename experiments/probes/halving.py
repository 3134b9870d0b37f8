"""Successive halving: points of a grid that fall behind are not trained to their end.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016. All
points are trained for some steps, the best third of them for more steps, and of these the best third to the end. Only
points that learn at the same pace compete: those of one form, batch size and learning rate. Among the others a slow
learner would always lose before it has begun.

It is a rule of thumb. That a point cannot win any more cannot be proved while it is trained: no metric of a task has a
bound below its maximum for weights that are still to come. What may be lost is a point that is behind the others of its
pace at a rung and would have overtaken all of them.

A rung trains its points anew, with the same random numbers, as a sweep whose points end there: so it is resumed like
any other sweep. Where that costs more than it saves, as with a grid of few points, there are no rungs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from experiments.probes.sweep_files import Record
from models.probes.grids import ProbeConfig

Early = Literal["halving"]
STEPS = (1000, 3000)
SHARE = 3  # one of so many goes on


@dataclass(frozen=True)
class Rung:
    """Where points are compared.

    Attributes:
        steps: That each has been trained for by then.
    """

    steps: int

    def limited(self, configs: Sequence[ProbeConfig]) -> tuple[ProbeConfig, ...]:
        """The points, ended here at the latest."""
        return tuple(replace(config, max_steps=min(self.steps, config.max_steps or self.steps)) for config in configs)

    def survivors(self, configs: Sequence[ProbeConfig], records: Sequence[Record]) -> tuple[list[int], list[Record]]:
        """The numbers of the points that go on, and what became of all others.

        Args:
            configs: Of the whole grid.
            records: Of the points that got here.
        """
        groups: dict[tuple[object, ...], list[Record]] = defaultdict(list)
        for record in records:
            groups[_pace(record.config)].append(record)
        left, ended = [], []
        for group in groups.values():
            ranked = sorted(group, key=lambda record: record.rank)
            stay = _kept(len(ranked))
            left += [record.number for record in ranked[:stay]]
            for record in ranked[stay:]:
                config = configs[record.number]
                early = record.failure is None and record.config != config and record.stop_step >= self.steps
                ended.append(replace(record, config=config, early=early))
        return sorted(left), ended


def rungs(early: Early | None, configs: Sequence[ProbeConfig]) -> list[Rung]:
    """Of a sweep: none where all points are trained to their end, and where rungs would take longer than that."""
    if early is None:
        return []
    with_rungs = without = 0.0
    for group in _paces(configs).values():
        last, left = max(config.max_steps or math.inf for config in group), len(group)
        without += left * last
        for steps in STEPS:
            with_rungs += left * min(steps, last)
            left = _kept(left)
        with_rungs += left * last
    return [Rung(steps) for steps in STEPS] if with_rungs < without or without == math.inf else []


def trainings(configs: Sequence[ProbeConfig], early: Early | None) -> int:
    """How many probes a sweep trains, or takes from its folder, those of the rungs counted apart."""
    total, sizes = len(configs), [len(group) for group in _paces(configs).values()]
    for _ in rungs(early, configs):
        sizes = [_kept(size) for size in sizes]
        total += sum(sizes)
    return total


def _paces(configs: Sequence[ProbeConfig]) -> dict[tuple[object, ...], list[ProbeConfig]]:
    groups: dict[tuple[object, ...], list[ProbeConfig]] = defaultdict(list)
    for config in configs:
        groups[_pace(config)].append(config)
    return groups


def _pace(config: ProbeConfig) -> tuple[object, ...]:
    return config.hidden, config.batch_size, config.learning_rate


def _kept(points: int) -> int:
    return -(-points // SHARE)
