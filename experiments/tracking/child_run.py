"""Child runs: the many small results of one run, each a run of its own in the database, for the run browser to compare.

They are one file, a JSON object a line, and one record in the journal of their run, so that a thousand of them cost as
much as one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datasets.storable import storable
from experiments.tracking.masking import mask


@dataclass(frozen=True)
class ChildRun:
    """A small result of a run, shown as a run of its own: without a folder and a log.

    Attributes:
        name: Tells it from the others of its run.
        command: What it did, as the run browser shows it.
        config: Its settings.
        result: What it came to; a number can be sorted by.
        info: Further facts.
        metrics: Series by name: `[step, value]` points.
        time: Unix time of its end.
        failure: Why it failed; None where it did not.
        tags: Labels.
    """

    name: str
    command: str
    config: Mapping[str, Any]
    result: Any
    time: float
    info: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Iterable[tuple[int, float]]] = field(default_factory=dict)
    failure: str | None = None
    tags: tuple[str, ...] = ()


def write(runs: Iterable[ChildRun], path: Path) -> Path:
    """Write child runs as lines, without secrets and without what cannot be stored."""
    with path.open("w", encoding="utf-8") as handle:
        for run in runs:
            handle.write(json.dumps(mask(storable(asdict(run))[0]), allow_nan=False) + "\n")
    return path
