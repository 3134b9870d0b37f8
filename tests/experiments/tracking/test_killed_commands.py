"""A command that is killed twelve times and gone on with leaves the database as if it had never been interrupted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from experiments.tracking import artifacts
from experiments.tracking.liveness import end_of
from experiments.tracking.sync import sync

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("ex_tiny.py")
KILLS, STEPS = 12, 60

Train = Callable[..., int]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """A process that has imported everything and forks one process for each command line."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), "--serve"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.communicate(timeout=240)


@pytest.fixture
def train(server: subprocess.Popen[str], home: Path) -> Train:
    """`train(folder, *words, KILL=…)`: the exit code of the tiny training, started in a folder of its own."""

    def train(folder: Path, *words: str, **variables: str) -> int:
        folder.mkdir(exist_ok=True)
        variables |= {"OSTINATO_HOME": str(home)}
        request = [str(folder), str(folder / "terminal.txt"), ["train", "with", f"steps={STEPS}", *words], variables]
        print(json.dumps(request), file=server.stdin, flush=True)
        return int(server.stdout.readline())

    return train


def content(database: Any, folder: Path) -> dict[str, Any]:
    """What the database holds of the one run of a folder, but for times and numbers."""
    (directory,) = folder.glob("runs/2*")
    run = database["runs"].find_one({"ostinato.key": directory.name})
    files = {entry["name"]: artifacts.get(database, entry["file_id"]) for entry in run["artifacts"]}
    assert not artifacts.incomplete(database, [entry["file_id"] for entry in run["artifacts"]])
    (folder / "table").write_bytes(files.pop("metrics.parquet"))
    table = pyarrow.parquet.read_table(folder / "table").select(["name", "step", "value"]).to_pylist()
    del files["run.log"]
    series = {one["name"]: (one["steps"], one["values"]) for one in database["metrics"].find({"run_id": run["_id"]})}
    assert {entry["name"] for entry in run["info"]["metrics"]} == series.keys()
    return {
        "files": files,
        "series": series,
        "table": sorted((row["name"], row["step"], row["value"]) for row in table),
        "info": {key: run["info"].get(key) for key in ("seen", "newest", "checkpoints", "tracking", "delta")},
        "end": {key: run.get(key) for key in ("status", "result", "fail_trace", "command")},
        "config": {key: value for key, value in run["config"].items() if key not in ("tracking", "resume")},
    }


def test_twelve_kills_leave_the_database_of_an_uninterrupted_run(train, tmp_path, database, mongo_url, home):
    chance = random.Random(12)
    where = {"OSTINATO_MONGO_URL": mongo_url.replace("/ostinato", f"/{database.name}")}
    assert train(tmp_path / "whole", **where) == 0
    for step in sorted(chance.randrange(STEPS * 2 // 3) for _ in range(KILLS - 1)):
        code = train(tmp_path / "killed", "resume=True", **where, KILL=f"{step}:{chance.random() * 0.03}")
        assert code == -signal.SIGKILL
    train(tmp_path / "killed", "resume=True", **where, KILL=f"{STEPS}:{chance.random() * 0.03}")
    (directory,) = tmp_path.glob("killed/runs/2*")
    if end_of(directory) is None:  # else it was killed while the last records were sent, or not at all
        assert train(tmp_path / "killed", "resume=True", **where) == 0
    report = sync(database, runs=[tmp_path / "whole" / "runs", tmp_path / "killed" / "runs"])
    assert report.failed == {}
    assert report.rejected == 0
    assert content(database, tmp_path / "killed") == content(database, tmp_path / "whole")
    assert not list((home / "pending").iterdir())


def test_a_killed_run_that_nobody_goes_on_with_is_sent_as_far_as_it_came(train, tmp_path, database, home):
    assert train(tmp_path / "killed", "tracking.mongo=off", KILL="31:0.001") == -signal.SIGKILL
    report = sync(database)
    assert len(report.interrupted) == len(report.sent) == 1
    found = content(database, tmp_path / "killed")
    assert found["end"]["status"] == "INTERRUPTED"
    assert found["info"]["newest"] == 28
    assert {f"picture{step:03d}.txt" for step in range(0, 31, 4)} <= found["files"].keys()
    assert found["files"]["newest.txt"] == b"picture of step 28"
    assert set(range(30)) <= set(found["series"]["train/loss"][0])
