"""Extraction by several processes into one store: real ones, one of them killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets.store import Store, StoreWriter
from datasets.windows import Plan
from experiments.inference.batching import Job, Output
from experiments.inference.extraction import extract, header
from experiments.windowing import Windowing

ROOT = Path(__file__).parents[3]
BANDS, FRAMES = 4, 10
BROKEN, GONE = "03.ogg", "gone.ogg"
OVERFLOWING = 40.0  # sum of a window of track 3

WORK = """
import json, os, signal, sys
from pathlib import Path
from datasets.store import Store
from datasets.windows import Plan
from experiments import distributed
from experiments.inference.batching import Job, Output
from experiments.inference.extraction import extract, header
from experiments.windowing import Windowing

folder, stores, dies_after = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
mels = Store(folder / "mels")
batches = 0

def run_batch(clips):
    global batches
    batches += 1
    if batches > dies_after and distributed.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    sums = clips.float()[:, :, 0].sum(dim=1)
    return [(sums / (sums != {broken}))[:, None].half().numpy()]

distributed.join()
output = Output(stores, header("logits", (1,), "", {{"net": "sum"}}))
job = Job(mels, Windowing(10, Plan(10, 10), 1.0), run_batch, [output], 3)
report = extract(job, [*mels.ids, "gone.ogg"])
print(json.dumps([report.written, report.already, report.short, report.skipped]))
distributed.leave()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tracks of 3 to 60 frames; every value of a track is the track's number."""
    folder = tmp_path_factory.mktemp("ranks")
    with StoreWriter(folder / "mels", header("mel", (BANDS,), "number", {})) as writer:
        for number, length in enumerate([57, 3, 10, 25, 31, 9, 60, 12, 40, 40, 10]):
            writer.append(f"{number:02d}.ogg", np.full((length, BANDS), number + 1, np.float16))
    (folder / "work.py").write_text(WORK.format(broken=OVERFLOWING))
    return folder


def start(folder: Path, stores: Path, processes: int, dies_after: int = 1000) -> list[subprocess.Popen]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = []
    for rank in range(processes):
        place = {"RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = os.environ | {name: str(value) for name, value in place.items()}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(folder / "work.py"), str(folder), str(stores), str(dies_after)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=environment, **pipes))
    return started


def finish(started: list[subprocess.Popen]) -> list[list]:
    reports = []
    for process in started:
        said, trouble = process.communicate(timeout=120)
        assert process.returncode == 0, trouble
        reports.append(json.loads(said.splitlines()[-1]))
    return reports


def sums(clips):
    """As the processes do it."""
    total = clips.float()[:, :, 0].sum(dim=1)
    return [(total / (total != OVERFLOWING))[:, None].half().numpy()]


def values(stores: Path) -> dict[str, list[list[float]]]:
    store = Store(stores)
    return {identity: store.read(identity).tolist() for identity in store.ids}


def test_two_processes_do_what_one_does_and_a_killed_one_is_made_up_for(folder, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    mels, output = Store(folder / "mels"), Output(alone, header("logits", (1,), "", {"net": "sum"}))
    job = Job(mels, Windowing(FRAMES, Plan(FRAMES, FRAMES), 1.0), sums, [output], 3)
    report = extract(job, [*mels.ids, GONE])
    assert (report.written, report.already, report.short) == (10, 0, 1)
    assert [identity for identity, _ in report.skipped] == [BROKEN, GONE]

    first, second = finish(start(folder, together, 2))
    assert first == second == [10, 0, 1, [list(pair) for pair in report.skipped]]
    assert values(together) == values(alone)
    assert (together / "skipped.csv").read_bytes() == (alone / "skipped.csv").read_bytes()
    assert len(list((together / "shards").iterdir())) == 2
    assert not list((together / "parts").iterdir())


def test_what_a_killed_process_left_undone_is_shared_by_the_next(folder, tmp_path):
    stores = tmp_path / "stores"
    zero, one = start(folder, stores, 2, dies_after=1)
    one.communicate(timeout=120)
    assert one.returncode == -signal.SIGKILL
    zero.communicate(timeout=120)
    assert zero.returncode != 0  # it was told, and kept what it had
    stored = values(stores)
    assert stored
    assert len(stored) < 10
    first, second = finish(start(folder, stores, 2))
    assert first == second
    assert first[:2] == [10 - len(stored), len(stored)]
    assert len(values(stores)) == 10
    assert stored.items() <= values(stores).items()
