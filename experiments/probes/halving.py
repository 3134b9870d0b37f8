"""Successive halving: points of a grid that fall behind are not trained to their end.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016. All
points are trained for some steps, the best third of them for more steps, and of these the best third to the end. Only
points that learn at the same pace compete: those of one form, batch size and learning rate. Among the others a slow
learner would always lose before it has begun.

It is a rule of thumb. That a point cannot win any more cannot be proved while it is trained: no metric of a task has a
bound below its maximum for weights that are still to come. What may be lost is a point that is behind the others of its
pace at a rung and would have overtaken all of them.

A rung trains its points anew, with the same random numbers, as a sweep whose points end there: so it is resumed like
any other sweep.
"""

from __future__ import annotations

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
                early = record.failure is None and record.config != config
                ended.append(replace(record, config=config, early=early))
        return sorted(left), ended


def rungs(early: Early | None) -> list[Rung]:
    """Of a sweep: none where all points are trained to their end."""
    return [] if early is None else [Rung(steps) for steps in STEPS]


def trainings(configs: Sequence[ProbeConfig], early: Early | None) -> int:
    """How many probes a sweep trains, or takes from its folder, those of the rungs counted apart."""
    groups: dict[tuple[object, ...], int] = defaultdict(int)
    for config in configs:
        groups[_pace(config)] += 1
    total, sizes = len(configs), list(groups.values())
    for _ in rungs(early):
        sizes = [_kept(size) for size in sizes]
        total += sum(sizes)
    return total


def _pace(config: ProbeConfig) -> tuple[object, ...]:
    return config.hidden, config.batch_size, config.learning_rate


def _kept(points: int) -> int:
    return -(-points // SHARE)
