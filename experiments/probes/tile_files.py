"""Finished tiles as files, so that a sweep that was ended goes on where it was.

A tile leaves its best probe (safetensors) and one JSON file with what became of each of its points, which is written
last. They lie in a folder that is named after everything they depend on: vectors, targets, task, points and seed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import UserError
from experiments.probes.fitted import FittedProbe, ProbeConfig
from experiments.probes.probing import Result
from experiments.probes.vectors import Split
from experiments.tasks.base import Task
from models.fingerprint import fingerprint

FORMAT = "ostinato tile 1"
CURVE_POINTS = 24  # kept of every probe's curve


@dataclass(frozen=True)
class Record:
    """What became of one point of a grid.

    Attributes:
        number: In the grid.
        config: The point.
        value: Best primary metric on validation; None where it failed.
        loss: Validation loss there.
        best_step: Where that was.
        stop_step: Where training stopped.
        failure: Why there is no probe.
        curve: Some points of the primary metric on validation by step.
    """

    number: int
    config: ProbeConfig
    value: float | None = None
    loss: float | None = None
    best_step: int | None = None
    stop_step: int | None = None
    failure: str | None = None
    curve: tuple[tuple[int, float], ...] = ()

    @property
    def rank(self) -> tuple[float, float, int]:
        """The best is the smallest: by metric, then by loss, then by place in the grid."""
        return (np.inf, np.inf, self.number) if self.value is None else (-self.value, self.loss, self.number)


def record_of(number: int, result: Result) -> Record:
    """The record of a result."""
    probe = result.probe
    if probe is None:
        return Record(number, result.config, failure=result.failure)
    found = (probe.value, probe.loss, probe.best_step, probe.stop_step)
    return Record(number, result.config, *found, curve=thinned(probe.curve, probe.best_step, CURVE_POINTS))


def thinned(curve: Sequence[tuple[int, float]], best_step: int, most: int) -> tuple[tuple[int, float], ...]:
    """Evenly spread points of a curve, with its ends and its best step."""
    if len(curve) <= most:
        return tuple(curve)
    rows = set(np.linspace(0, len(curve) - 1, most - 1).round().astype(int).tolist())
    rows |= {row for row, (step, _) in enumerate(curve) if step == best_step}
    return tuple(curve[row] for row in sorted(rows))


@dataclass(frozen=True)
class Problem:
    """What a grid of probes is trained on.

    Attributes:
        task: Loss and metrics.
        train: Vectors and targets to learn from.
        valid: For early stopping and selection.
        configs: The grid.
        seed: Of weights, batches and masks.
    """

    task: Task
    train: Split
    valid: Split
    configs: tuple[ProbeConfig, ...]
    seed: int

    @cached_property
    def fingerprint(self) -> str:
        """Equal where all that decides about the probes is equal, the points aside."""
        return fingerprint(
            {
                "format": FORMAT,
                "task": [self.task.name, dict(self.task.options)],
                "seed": self.seed,
                "train": _hash(self.train),
                "valid": _hash(self.valid),
            }
        )


def _hash(split: Split) -> str:
    digest = hashlib.sha256()
    for array in (split.x, split.y):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    words = {"ids": split.ids, "groups": split.groups, "layers": split.layers, "features": dict(split.features)}
    digest.update(json.dumps(words, sort_keys=True).encode())
    return digest.hexdigest()


class TileFiles:
    """The files of a problem's tiles.

    Args:
        folder: Of all sweeps.
        problem: Whose tiles they are.
    """

    def __init__(self, folder: Path, problem: Problem):
        self.problem = problem
        self.folder = folder / f"{problem.task.name}-{problem.fingerprint}"

    def read(self, numbers: Sequence[int]) -> list[Record] | None:
        """What became of the points of a tile; None where it was not finished."""
        path = self._path(numbers)
        try:
            document = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            records = [_record(entry) for entry in document["records"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        whole = document.get("format") == FORMAT and [record.number for record in records] == list(numbers)
        return records if whole else None

    def write(self, numbers: Sequence[int], records: Sequence[Record], best: FittedProbe | None) -> None:
        """Keep a tile: its best probe, then, as the sign that it is finished, its records."""
        path = self._path(numbers)
        self.folder.mkdir(parents=True, exist_ok=True)
        if best is not None:
            best.save(path)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_text(json.dumps({"format": FORMAT, "records": [asdict(one) for one in records]}), encoding="utf-8")
        os.replace(aside, path.with_suffix(".json"))

    def probe(self, numbers: Sequence[int]) -> FittedProbe | None:
        """The best probe of a finished tile; None where its file is gone."""
        try:
            return FittedProbe.load(self._path(numbers))
        except (UserError, KeyError, ValueError):
            return None

    def keep_probe(self, numbers: Sequence[int]) -> None:
        """Delete the probes of all other tiles: the whole grid was trained, and they were not chosen."""
        for path in self.folder.glob("*.safetensors"):
            if path != self._path(numbers):
                path.unlink(missing_ok=True)

    def _path(self, numbers: Sequence[int]) -> Path:
        points = [[number, asdict(self.problem.configs[number])] for number in numbers]
        return self.folder / f"{fingerprint({'points': points})}.safetensors"


def _record(entry: Mapping[str, Any]) -> Record:
    curve = tuple((step, value) for step, value in entry["curve"])
    return Record(**{**entry, "config": ProbeConfig(**entry["config"]), "curve": curve})
