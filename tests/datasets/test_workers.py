"""Worker processes: killed with kill -9, whoever started them leaves none behind."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import psutil
import pytest

from datasets.workers import workers

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds, on a slow machine

SWEEP = """
import sys
import numpy as np
from pathlib import Path
from models.probes.grids import points
from experiments.probes.sweep import Workers, sweep
from experiments.probes.sweep_files import Problem
from experiments.probes.vectors import Split
from experiments.tasks import Genre

def split(name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 64)), rng.integers(0, 4, 400)
    return Split(x.astype(np.float32), y, [f"{name}{i}" for i in range(400)])

task, train, valid = Genre(["a", "b", "c", "d"]), split("a"), split("b")
grid = points(hidden=[512], learning_rate=[1e-5], patience=[10**6])
sweep([Problem(task, train, valid, grid, seed) for seed in range(4)], Path(sys.argv[1]), Workers(jobs=2))
"""
COMMANDS = {
    "demo": ["-m", "datasets.demo", "--size", "1000", "--jobs", "2", "--output"],
    "sweep": ["-c", SWEEP],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_with_kill_9_leaves_no_worker(name: str, tmp_path: Path):
    line = [sys.executable, *COMMANDS[name], str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(line, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        family: list[psutil.Process] = []
        deadline = time.monotonic() + PATIENCE
        while busy(family) < 2:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, "no workers were seen"
            family = psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.05)
        process.kill()
    _, left = psutil.wait_procs(family, timeout=PATIENCE // 4)
    for one in left:
        one.kill()
    assert left == []


def test_a_worker_that_was_replaced_is_not_warned_of():
    message = "A worker stopped while some jobs were given to the executor. This can be caused by a memory leak."
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        workers(1)
        warnings.warn(message, UserWarning, stacklevel=1)
        warnings.warn("another", UserWarning, stacklevel=1)
    assert [str(one.message) for one in seen] == ["another"]


def busy(family: list[psutil.Process]) -> int:
    """Workers of joblib that have computed for a while."""
    found = 0
    for one in family:
        try:
            found += "LokyProcess" in " ".join(one.cmdline()) and one.cpu_times().user > 0.5
        except psutil.Error:  # gone between two looks
            continue
    return found


def test_no_other_file_makes_workers_of_its_own():
    """One remedy is for all of them: `datasets.workers`."""
    makers = {"Parallel", "ProcessPoolExecutor", "Pool", "get_reusable_executor"}
    found = set()
    for room in ("models", "datasets", "preprocess", "experiments"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in makers:
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == {"datasets/workers.py"}
