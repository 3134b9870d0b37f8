"""The server is killed or frozen while a real process trains: nothing waits, nothing is lost, nothing comes twice.

Told by the order of events, never by the clock: the training must go on for many steps while the server cannot answer,
and the client of the process would wait for an answer longer than a test may take. `benchmarks.tracking` has the times.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from pymongo import MongoClient

from experiments.tracking.home import server_directory
from experiments.tracking.server import EmbeddedServer, status
from experiments.tracking.sync import sync

STEPS = 100  # of the training while the server does not answer
FOR_EVER = 3600.0  # seconds: longer than any test

RUN = """
import logging, os, sys, threading, time
from pymongo import MongoClient
from experiments.tracking.journal import Journal
from experiments.tracking.server import EmbeddedServer
from experiments.tracking.uploader import Uploader, Waits
def say(words):
    os.write(1, f"{words}\\n".encode())
class Said(logging.Handler):
    def emit(self, record):
        say("log " + record.getMessage())
logging.getLogger("ostinato.tracking").addHandler(Said())
patience, drain = int(float(sys.argv[2]) * 1000), float(sys.argv[3])
server = EmbeddedServer(); server.acquire()
def connect():
    names = ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")
    return MongoClient(server.revive(), **dict.fromkeys(names, patience))["outage"]
journal = Journal.create(sys.argv[1])
journal.append("start", document={"status": "RUNNING", "info": {}, "ostinato": {}}, sources=[])
waits = Waits(poll=0.05, first=0.1, longest=1.0, draining=0.3, restart=1.0)
uploader = Uploader(journal.directory, connect, waits=waits); uploader.start()
told, ended, step = threading.Event(), threading.Event(), 0
def listen():
    sys.stdin.readline()
    told.set()
def beats():
    while not ended.wait(0.4):
        journal.append("beat", set={"info.step": step})
threading.Thread(target=listen, daemon=True).start()
heart = threading.Thread(target=beats); heart.start()
while not told.is_set():
    journal.append("metrics", name="loss", points=[[step, 0.5, time.time()]])
    say(f"step {step} sent {uploader._safe}")
    step += 1
    time.sleep(0.02)
ended.set(); heart.join(); journal.append("beat", set={"info.step": step})
journal.append("end", status="COMPLETED", stop_time=time.time(), result=None, fail_trace=None); journal.close()
left = uploader.drain(drain); server.release()
say(f"done {journal.key} {step} {left}")
"""


class Training:
    """A process that trains until it is told to end; what it says is read in the order in which it happens."""

    def __init__(self, runs: Path, patience: float, drain: float = 120.0):
        command = [sys.executable, "-c", RUN, str(runs), str(patience), str(drain)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.step = self.sent = 0  # the last step, and the last record that was in the database then
        self.logged = ""

    def read(self) -> list[str]:
        """The next line's words."""
        words = self.process.stdout.readline().split()
        assert words, "the training ended early"
        if words[0] == "step":
            self.step, self.sent = int(words[1]), int(words[3])
        elif words[0] == "log":
            self.logged += " ".join(words[1:]) + "\n"
        return words

    def go_on(self, steps: int) -> None:
        """Read on until the training has made so many steps more."""
        goal = self.step + steps
        while self.step < goal:
            self.read()

    def until(self, condition: Callable[[], bool]) -> None:
        """Read on until the condition holds."""
        while not condition():
            self.read()

    def finish(self) -> tuple[str, int, int]:
        """Tell it to end: the run's key, how many steps it has made, and how many records were left out."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        while (words := self.read())[0] != "done":
            pass
        return words[1], int(words[2]), int(words[3])

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def train(tmp_path) -> Iterator[Callable[..., Training]]:
    """`train(patience, drain)`: a training whose run has reached the database; it ends with the test."""
    started: list[Training] = []

    def train(patience: float, drain: float = 120.0) -> Training:
        started.append(Training(tmp_path / "runs", patience, drain))
        started[-1].until(lambda: started[-1].sent > 10)
        return started[-1]

    yield train
    for training in started:
        training.close()


@pytest.fixture
def server(home) -> Iterator[EmbeddedServer]:
    """A lease that outlives the training, so that the database can be looked at afterwards."""
    server = EmbeddedServer()
    server.acquire()
    yield server
    if (state := status()) is not None:
        os.kill(state.pid, signal.SIGCONT)
    server.release()


def freeze(eventually: Callable[..., object]) -> psutil.Process:
    """Stop the server in the midst of what it does."""
    process = psutil.Process(status().pid)
    process.suspend()
    eventually(lambda: process.status() == psutil.STATUS_STOPPED)
    return process


def check_complete(server: EmbeddedServer, key: str, steps: int) -> None:
    with MongoClient(server.url) as client:
        run = client["outage"]["runs"].find_one({"ostinato.key": key})
        assert run["status"] == "COMPLETED"
        assert client["outage"]["metrics"].find_one({"run_id": run["_id"]})["steps"] == list(range(steps))
        assert run["info"]["step"] == steps
        assert client["outage"]["runs"].count_documents({}) == 1


def test_a_killed_server_is_started_again_and_nothing_is_lost(server, train, home, eventually):
    training = train(patience=2.0)
    killed = status().pid
    with open(server_directory(home) / "start.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # no server can start
        os.kill(killed, signal.SIGKILL)
        training.go_on(STEPS)
        eventually(lambda: status() is None)
    training.until(lambda: "the database answers again" in training.logged)
    assert status().pid != killed
    key, steps, left = training.finish()
    assert left == 0
    check_complete(server, key, steps)


def test_a_frozen_server_delays_nothing(server, train, eventually):
    """The uploader waits for one answer all the time; the training does not."""
    training = train(patience=FOR_EVER)
    process = freeze(eventually)
    training.go_on(STEPS)
    sent = training.sent
    training.go_on(STEPS)
    assert training.sent == sent < training.step - STEPS
    assert process.status() == psutil.STATUS_STOPPED
    process.resume()
    key, steps, left = training.finish()
    assert left == 0
    check_complete(server, key, steps)


def test_connections_given_up_in_a_freeze_double_nothing(server, train, eventually):
    training = train(patience=1.0)
    process = freeze(eventually)
    training.until(lambda: "the database does not answer" in training.logged)
    training.go_on(STEPS)
    process.resume()
    key, steps, left = training.finish()
    assert left == 0
    check_complete(server, key, steps)


def test_a_server_frozen_for_good_does_not_keep_a_run_from_ending_and_a_sync_completes_it(server, train, eventually):
    training = train(patience=FOR_EVER, drain=1.0)
    process = freeze(eventually)
    training.go_on(STEPS)
    key, steps, left = training.finish()
    assert training.process.wait(120) == 0
    assert process.status() == psutil.STATUS_STOPPED
    assert left > STEPS
    process.resume()
    with MongoClient(server.url) as client:
        report = sync(client["outage"])
        assert list(report.sent) == [key]
        assert sync(client["outage"]).sent == {}
    check_complete(server, key, steps)
