"""How long `python ex_probe.py report` takes over a database of 10,000 runs, from the command to its last line.

    python -m benchmarks.report [--runs 10000] [--sweeps 40] [--rounds 3]

An embedded server of its own is filled with runs as the suite writes them: sweeps of 12 blocks x 5 choices of tokens, a
quarter of them each of the sizes of MagnaTagATune (5,329 test tracks, 50 tags), GTZAN, GiantSteps and EmoMusic, with
the predictions of every row; 216 child runs of probes a sweep; trainings for the rest. The report compares ten encoders
in four tasks, in pairs, on 1,000 resamples of the tracks, and draws. The first round makes the index of scores. For
comparison: reading the same runs without index and projection, as a plain query would.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database
from rich.console import Console
from rich.table import Table

from benchmarks.machine import cpu_name
from experiments.intervals import weighted
from experiments.leaderboard.comparison import task_of
from experiments.probes.records import Score, predictions_name, save_predictions
from experiments.settings import PretrainSettings, ProbeExperimentSettings
from experiments.tracking import artifacts
from experiments.tracking.database import prepare
from experiments.tracking.provenance import packages
from experiments.tracking.server import EmbeddedServer

SCRIPT = Path(__file__).resolve().parents[1] / "ex_probe.py"
PROBES = 216
BLOCKS, TOKENS = range(12), ("cls", "dist", "mean", "cls+dist", "all")
TESTS = {"tagging": (5329, 50), "genre": (290, 10), "key": (604, 24), "emotion": (125, 2)}
BATCH = 500  # documents written at once
START = datetime.datetime(2026, 1, 1)


def predicted(task: str, quality: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and references of a task's size; references are the same in every call."""
    n, outputs = TESTS[task]
    truth = np.random.default_rng(0)
    noise = rng.random((n, outputs)).astype(np.float32)
    if task == "tagging":
        references = (truth.random((n, outputs)) < 0.06).astype(np.float32)
        return (0.3 * quality * references + (1 - 0.3 * quality) * noise).astype(np.float32), references
    if task == "emotion":
        references = truth.normal(5, 1, (n, outputs)).astype(np.float32)
        return references + (1 - quality) * (noise - 0.5) * 4, references
    numbers = truth.integers(0, outputs, n)
    return np.eye(outputs, dtype=np.float32)[numbers] * quality + noise, numbers


def scores(task: str, encoder: str, folder: Path, rng: np.random.Generator) -> tuple[list[Score], Path]:
    """The rows of a sweep, of which the one with the best validation score has these predictions."""
    predictions, references = predicted(task, rng.uniform(0.2, 0.8), rng)
    scorer, once = task_of(task, predictions.shape[1]), np.ones((1, len(references)), np.float32)
    found = {name: float(one[0]) for name, one in weighted(scorer, predictions, references, once).items()}
    value = found[scorer.primary]
    rows = []
    for block in BLOCKS:
        for tokens in TOKENS:
            lower = 0.01 * abs(block - 6) + 0.005 * TOKENS.index(tokens)
            now = value - lower
            rows.append(
                Score(
                    task, f"{task} corpus", encoder, "probe", scorer.primary, now, now - 0.02, now + 0.02, [now],
                    len(references), "split", "classes", f"{encoder} {block}", block, tokens, "mean",
                    "mean of windows", {"hidden": 512, "learning_rate": 1e-3, "dropout": 0.25, "l2": 1e-4},
                    predictions_name(task, encoder, block, tokens), found, now + 0.01,
                )
            )  # fmt: skip
    path = folder / "predictions.npz"
    return rows, save_predictions(path, [f"track {n}" for n in range(len(references))], predictions[None], references)


def document(number: int, config: dict[str, Any], log: int, **more: Any) -> dict[str, Any]:
    """A run as the database has it."""
    start = START + datetime.timedelta(minutes=number)
    return {
        "_id": number, "format": "MongoObserver-0.7.0", "command": "main", "status": "COMPLETED", "start_time": start,
        "heartbeat": start, "stop_time": start, "captured_out": "epoch 1: loss 0.5\n" * (log // 18), "result": 0.5,
        "experiment": {"name": "ex_probe", "sources": [["ex_probe.py", ObjectId()]] * 60, "dependencies": packages()},
        "config": config, "host": {"hostname": "here", "cpu": cpu_name()}, "artifacts": [],
        "meta": {"command": "main", "group": None}, "omniboard": {"tags": []},
        "ostinato": {"key": f"20260101-{number:06}", "seq": 9},
    } | {"info": {"delta": {}, "metrics": []}} | more  # fmt: skip


def fill(database: Database, runs: int, sweeps: int) -> None:
    """Write sweeps with their child runs, and trainings until there are so many runs."""
    prepare(database)
    rng = np.random.default_rng(1)
    probing = ProbeExperimentSettings().model_dump(mode="json")
    training = PretrainSettings().model_dump(mode="json")

    def all_runs() -> Iterator[tuple[dict[str, Any], int]]:
        number = 0
        for sweep in range(sweeps):
            number += 1
            own, task = number, list(TESTS)[sweep % len(TESTS)]
            with tempfile.TemporaryDirectory() as folder:
                rows, path = scores(task, f"encoder {sweep // len(TESTS):02}", Path(folder), rng)
                with path.open("rb") as file:
                    kept = artifacts.put(database, file, path.name)
            files = [{"name": row.predictions, "file_id": kept} for row in rows]
            info = {"delta": {}, "metrics": [], "scores": [row.plain() for row in rows]}
            yield document(own, probing, 20_000, info=info, artifacts=files), 5
            for point in range(PROBES):
                number += 1
                config = probing | {"probe_point": {"learning_rate": 1e-3, "dropout": 0.25, "number": point}}
                yield document(number, config, 500, info={"sweep": own, "metrics": []}, result=rng.random()), 1
        while number < runs:
            number += 1
            yield document(number, training, 20_000), 10

    batch: list[dict[str, Any]] = []
    series: list[dict[str, Any]] = []
    for run, n_series in all_runs():
        values = {"steps": list(range(50)), "values": [0.5] * 50, "timestamps": [START] * 50}
        series += [{"run_id": run["_id"], "name": f"val/{name}", **values} for name in range(n_series)]
        batch.append(run)
        if len(batch) == BATCH or run["_id"] == runs:
            database["runs"].insert_many(batch)
            database["metrics"].insert_many(series)
            batch, series = [], []


def report(url: str, folder: Path) -> tuple[float, float, float]:
    """Seconds of the command, the seconds that the report itself names, and seconds of CPU time."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(SCRIPT), "report"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"OSTINATO_MONGO_URL": url}, capture_output=True, text=True
    )
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = re.search(r"Report of [\d,]+ scores .* in ([\d.]+) s", done.stderr)
    if done.returncode or said is None:
        raise SystemExit(done.stdout + done.stderr)
    return took, float(said[1]), cpu


def plain_query(database: Database) -> float:
    """Seconds to read all runs whole and keep those with scores."""
    began = time.perf_counter()
    kept = [run for run in database["runs"].find() if "scores" in run["info"]]
    assert kept
    return time.perf_counter() - began


def main() -> None:
    """Fill the database, report, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--sweeps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["OSTINATO_HOME"] = f"{scratch}/home"
        server = EmbeddedServer()
        url = server.acquire()
        try:
            with MongoClient(url) as client:
                database = client.get_default_database()
                fill(database, options.runs, options.sweeps)
                size = database.command("collStats", "runs")["size"] / database["runs"].count_documents({})
                rounds = [report(url, Path(scratch)) for _ in range(options.rounds)]
                plain = plain_query(database)
        finally:
            server.release()
    title = f"{options.runs:,} runs of {size / 1e3:.0f} kB, {options.sweeps} of them sweeps with {PROBES} child runs"
    table = Table(title=title, title_justify="left")
    for column in ("", "wall, s", "after the start, s", "CPU, s"):
        table.add_column(column, justify="left" if not column else "right")
    for number, seconds in enumerate(rounds):
        name = "first report, makes the index" if number == 0 else "report"
        table.add_row(name, *(f"{value:.1f}" for value in seconds))
    table.add_row("only reading all runs, no index", f"{plain:.1f}", "", "")
    console = Console(width=110)
    console.print(table)
    load = f"load {os.getloadavg()[0]:.1f}"
    console.print(f"{cpu_name()}, {os.cpu_count()} cores, {load}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
