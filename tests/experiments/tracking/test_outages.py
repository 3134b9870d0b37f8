"""The server is killed or frozen while a real process trains: nothing waits, nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymongo import MongoClient

from experiments.tracking.server import EmbeddedServer, status
from experiments.tracking.sync import sync

RUN = """
import sys, threading, time
from pymongo import MongoClient
from experiments.tracking.journal import Journal
from experiments.tracking.server import EmbeddedServer
from experiments.tracking.uploader import Uploader, Waits
steps, drain = int(sys.argv[2]), float(sys.argv[3])
server = EmbeddedServer(); url = server.acquire()
def connect():
    fast = {"serverSelectionTimeoutMS": 500, "connectTimeoutMS": 500, "socketTimeoutMS": 1500}
    return MongoClient(server.revive(), **fast)["outage"]
journal = Journal.create(sys.argv[1])
journal.append("start", document={"status": "RUNNING", "info": {}, "ostinato": {}}, sources=[])
waits = Waits(poll=0.05, first=0.1, longest=1.0, draining=0.3, restart=float(sys.argv[4]))
uploader = Uploader(journal.directory, connect, waits=waits); uploader.start()
ended = threading.Event()
def beats():
    while not ended.wait(0.4):
        journal.append("beat", set={"info.step": step})
step, blocked, noise, begun = 0, [], [], time.monotonic()
heart = threading.Thread(target=beats); heart.start()
for step in range(steps):
    before = time.monotonic()
    journal.append("metrics", name="loss", points=[[step, 0.5, time.time()]])
    blocked.append(time.monotonic() - before)
    print(step, flush=True)
    before = time.monotonic()
    time.sleep(0.02)
    noise.append(time.monotonic() - before - 0.02)
def mean(times):  # but for the few at which the machine took the processor away
    kept = sorted(times)[: -len(times) // 20]
    return sum(kept) / len(kept)
quiet, later = blocked[:40], blocked[40:]  # before and after the server is disturbed
share = (mean(later) - mean(quiet)) * steps / (time.monotonic() - begun)
ended.set(); heart.join(); journal.append("beat", set={"info.step": step})
journal.append("end", status="COMPLETED", stop_time=time.time(), result=None, fail_trace=None); journal.close()
begun = time.monotonic(); left = uploader.drain(drain); server.release()
print("done", journal.key, max(blocked) - max(noise), share, left, begun, flush=True)
"""


class Training:
    """A process that trains 4 s; its longest step is told without what the machine takes from a sleeping process."""

    def __init__(self, tmp_path: Path, drain: float = 10, restart: float = 1.0):
        command = [sys.executable, "-c", RUN, str(tmp_path / "runs"), "200", str(drain), str(restart)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.runs = tmp_path / "runs"

    def reach(self, step: int) -> None:
        while int(self.process.stdout.readline()) < step:
            pass

    def finish(self) -> tuple[str, float, float, int, float]:
        lines = self.process.stdout.read().splitlines()
        assert self.process.wait(30) == 0
        _, key, worst, share, left, ended = lines[-1].split()
        return key, float(worst), float(share), int(left), time.monotonic() - float(ended)


@pytest.fixture
def server(home):
    """A lease that outlives the training, so that the database can be looked at afterwards."""
    server = EmbeddedServer()
    server.acquire()
    yield server
    with_state = status()
    if with_state is not None:
        os.kill(with_state.pid, signal.SIGCONT)
    server.release()


def check_complete(server: EmbeddedServer, key: str) -> None:
    with MongoClient(server.revive()) as client:
        run = client["outage"]["runs"].find_one({"ostinato.key": key})
        assert run["status"] == "COMPLETED"
        assert client["outage"]["metrics"].find_one({"run_id": run["_id"]})["steps"] == list(range(200))
        assert run["info"]["step"] == 199
        assert client["outage"]["runs"].count_documents({}) == 1


def test_a_killed_server_is_started_again_and_nothing_is_lost(server, tmp_path, eventually):
    training = Training(tmp_path)
    training.reach(40)
    killed = status().pid
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: status() is not None and status().pid != killed)
    key, worst, share, left, drained = training.finish()
    assert worst < 0.05
    assert share < 0.02
    assert left == 0
    assert drained < 10
    check_complete(server, key)


def test_a_frozen_server_delays_nothing_and_doubles_nothing(server, tmp_path):
    training = Training(tmp_path)
    training.reach(40)
    os.kill(status().pid, signal.SIGSTOP)
    training.reach(160)
    os.kill(status().pid, signal.SIGCONT)
    key, worst, share, left, _ = training.finish()
    assert worst < 0.05
    assert share < 0.02
    assert left == 0
    check_complete(server, key)


def test_a_server_frozen_for_good_delays_the_exit_by_the_bound_and_a_sync_completes_the_run(server, tmp_path):
    training = Training(tmp_path, drain=1)
    training.reach(40)
    os.kill(status().pid, signal.SIGSTOP)
    key, worst, share, left, drained = training.finish()
    assert worst < 0.05
    assert share < 0.02
    assert left > 0
    assert drained < 1 + 3
    os.kill(status().pid, signal.SIGCONT)
    with MongoClient(server.revive()) as client:
        report = sync(client["outage"])
        assert list(report.sent) == [key]
        assert sync(client["outage"]).sent == {}
    check_complete(server, key)
