"""Finished parts of a sweep as files, so that a sweep that was ended goes on where it was.

A batch of probes leaves its best probe (safetensors) and one JSON file with what became of each of its points, which is
written last. They lie in a folder that is named after everything they depend on: vectors, targets, task, points, seed.
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
from experiments.probes.fitted import FittedProbe
from experiments.probes.vectors import Split
from experiments.tasks.base import Task
from models.fingerprint import fingerprint
from models.probes.grids import ProbeConfig

FORMAT = "ostinato tile 1"  # in files and fingerprints: a sweep that was begun by an earlier version goes on


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
        early: It was not trained to its end, since others were better by then; it cannot be chosen.
    """

    number: int
    config: ProbeConfig
    value: float | None = None
    loss: float | None = None
    best_step: int | None = None
    stop_step: int | None = None
    failure: str | None = None
    curve: tuple[tuple[int, float], ...] = ()
    early: bool = False

    @property
    def rank(self) -> tuple[bool, float, float, int]:
        """The best is the smallest: trained to its end, by metric, then by loss, then by place in the grid."""
        measured = (np.inf, np.inf) if self.value is None else (-self.value, self.loss)
        return (self.early, *measured, self.number)


@dataclass(frozen=True)
class Problem:
    """What a grid of probes is trained on.

    Attributes:
        task: Loss and metrics.
        train: Vectors and targets to learn from.
        valid: For early stopping and selection.
        configs: The grid.
        seed: Of weights, batches and dropout.
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


class SweepFiles:
    """The files of a problem's finished batches of probes.

    Args:
        folder: Of all sweeps.
        problem: Whose they are.
    """

    def __init__(self, folder: Path, problem: Problem):
        self.problem = problem
        self.folder = folder / f"{problem.task.name}-{problem.fingerprint}"

    def read(self, numbers: Sequence[int]) -> list[Record] | None:
        """What became of the points of a batch; None where it was not finished."""
        try:
            document = json.loads(self._path(numbers).with_suffix(".json").read_text(encoding="utf-8"))
            records = [_record(entry) for entry in document["records"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        whole = document.get("format") == FORMAT and [record.number for record in records] == list(numbers)
        return records if whole else None

    def write(self, numbers: Sequence[int], records: Sequence[Record], best: FittedProbe | None) -> None:
        """Keep a batch: its best probe, then, as the sign that it is finished, its records."""
        path = self._path(numbers)
        self.folder.mkdir(parents=True, exist_ok=True)
        if best is not None:
            best.save(path)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_text(json.dumps({"format": FORMAT, "records": [asdict(one) for one in records]}), encoding="utf-8")
        os.replace(aside, path.with_suffix(".json"))

    def probe(self, numbers: Sequence[int]) -> FittedProbe | None:
        """The best probe of a finished batch; None where its file is gone."""
        try:
            return FittedProbe.load(self._path(numbers))
        except (UserError, KeyError, ValueError):
            return None

    def keep_probe(self, numbers: Sequence[int]) -> None:
        """Delete the probes of all other batches: the whole grid was trained, and they were not chosen."""
        for path in self.folder.glob("*.safetensors"):
            if path != self._path(numbers):
                path.unlink(missing_ok=True)

    def _path(self, numbers: Sequence[int]) -> Path:
        points = [[number, asdict(self.problem.configs[number])] for number in numbers]
        return self.folder / f"{fingerprint({'points': points})}.safetensors"


def _record(entry: Mapping[str, Any]) -> Record:
    curve = tuple((step, value) for step, value in entry["curve"])
    return Record(**{**entry, "config": ProbeConfig(**entry["config"]), "curve": curve})
