"""Which probes are trained: grids are data, a point of one is a `ProbeConfig`.

`full` is the grid of Castellon, Donahue and Liang (ISMIR 2021), 216 points, enumerated with the last axis fastest.
`quick` is a coarser one with an end; what it costs in score, `python -m benchmarks.sweep --whole` says with `--grid
quick` and without.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class ProbeConfig:
    """One point of a grid.

    Attributes:
        standardise: Subtract the training mean and divide by the training deviation.
        hidden: Width of the hidden layer; None for a linear probe.
        batch_size: Tracks a step; all of them where there are fewer.
        learning_rate: Of Adam, constant.
        dropout: Of the input, and of the hidden layer.
        l2: Coupled, on weights and biases.
        evaluate_every: Steps between evaluations; the first precedes the first step.
        patience: Evaluations in a row without a new best before it stops.
        max_steps: Ends at this step with the best weights so far; None for no limit.
    """

    standardise: bool = True
    hidden: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    dropout: float = 0.5
    l2: float = 0.0
    evaluate_every: int = 8
    patience: int = 256
    max_steps: int | None = None

    def describe(self) -> str:
        """One short line, for tables and errors."""
        form = "linear" if self.hidden is None else f"hidden {self.hidden}"
        scaled = "standardised" if self.standardise else "raw"
        return (
            f"{form}, {scaled}, batch {self.batch_size}, lr {self.learning_rate:g}, "
            f"dropout {self.dropout:g}, l2 {self.l2:g}"
        )


GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = MappingProxyType(
    {
        "full": {
            "standardise": [False, True],
            "hidden": [None, 512],
            "batch_size": [64, 256],
            "learning_rate": [1e-5, 1e-4, 1e-3],
            "dropout": [0.25, 0.5, 0.75],
            "l2": [0.0, 1e-4, 1e-3],
        },
        "quick": {
            "standardise": [True],
            "hidden": [None, 512],
            "batch_size": [64],
            "learning_rate": [1e-3],
            "dropout": [0.25, 0.75],
            "patience": [64],
            "max_steps": [4000],
        },
        "single": {"hidden": [None], "patience": [32], "max_steps": [4000]},
    }
)


def points(**axes: Sequence[Any]) -> tuple[ProbeConfig, ...]:
    """All combinations of the values of some settings, the last axis fastest."""
    return tuple(ProbeConfig(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values()))
