"""A light run for every probe of a sweep, to filter, sort and compare them in the run browser.

They are one file in the run's folder and, where there is a database, runs there; without one, `sync` sends them later.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from experiments.probes.sweeping import Outcome
from experiments.tracking import ChildRun, RunHandle


def write_light_runs(
    trained: Sequence[tuple[str, str, int, Outcome]], metrics: Mapping[str, str], run: RunHandle
) -> None:
    """Record every probe: its point as `config.probe_point`, its validation score as `result`, a thin curve.

    Args:
        trained: Task, label of the row, seed, outcome.
        metrics: The primary metric of every task.
        run: Of the sweep; its key is `info.sweep_key` of every light run, its number in the database `info.sweep`.
    """
    run.add_child_runs(_light(trained, metrics, run), "light_runs.jsonl")


def _light(
    trained: Sequence[tuple[str, str, int, Outcome]], metrics: Mapping[str, str], run: RunHandle
) -> Iterator[ChildRun]:
    now = time.time()
    for number, (task, label, seed, outcome) in enumerate(trained):
        chosen = min(outcome.records, key=lambda record: record.rank)
        for record in outcome.records:
            about = {"task": task, "representation": label, "seed": seed}
            info = {"target": task, "sweep_key": run.key, "point": record.number, "chosen": record is chosen}
            info |= {"best_step": record.best_step, "stop_step": record.stop_step, "loss": record.loss}
            yield ChildRun(
                name=f"{number:04d}-{record.number:04d}",
                command="probe",
                config=about | {"probe_point": asdict(record.config)},
                result=record.value,
                time=now,
                info=info,
                metrics={f"valid/{metrics[task]}": record.curve} if record.curve else {},
                failure=record.failure,
                tags=(task, "probe"),
            )
