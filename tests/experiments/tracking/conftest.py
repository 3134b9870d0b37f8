"""A real MongoDB for the tests of this room, and journals to send to it."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from experiments.tracking import Experiment
from experiments.tracking.journal import Journal
from experiments.tracking.server import EmbeddedServer, stop_server
from tests.datasets.test_storable import NASTY
from tests.experiments.tracking.tiny_runs import SCRIPT, Run, tiny

_numbers = itertools.count(1)


@pytest.fixture
def nasty() -> dict[str, tuple]:
    """Values that Sacred's own observers stumble over: name -> value, and what stands for it in a record."""
    return NASTY


@pytest.fixture(scope="session", autouse=True)
def nothing_left(tmp_path_factory) -> Iterator[None]:
    """After the last test no server runs on any of its homes, and no pointer's lock or socket is held by one."""
    yield
    base = str(tmp_path_factory.getbasetemp())
    running = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in running if base in command and "--dbpath" in command]


@pytest.fixture(scope="session")
def mongo_url(nothing_left, tmp_path_factory) -> Iterator[str]:
    """URL of a server that lives as long as the tests and keeps its data in a temporary home."""
    server = EmbeddedServer(tmp_path_factory.mktemp("home"))
    yield server.acquire()
    server.release()


@pytest.fixture(scope="session")
def client(mongo_url) -> Iterator[MongoClient]:
    with MongoClient(mongo_url) as client:
        yield client


@pytest.fixture
def database(client) -> Iterator[Database]:
    """A database of this test's own."""
    name = f"test{os.getpid()}_{next(_numbers)}"
    yield client[name]
    client.drop_database(name)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Iterator[Path]:
    """The suite's home, empty and of this test's own; nothing configured points to a database."""
    path = tmp_path / "home"
    monkeypatch.setenv("OSTINATO_HOME", str(path))
    for name in ("OSTINATO_MONGO_URL", "OSTINATO_MONGO_URL_FILE", "OSTINATO_MONGOD"):
        monkeypatch.delenv(name, raising=False)
    yield path
    stop_server(path / "mongo")


@pytest.fixture
def servers(home) -> Callable[[], list[int]]:
    """Numbers of the processes that use the data of this home."""

    def find() -> list[int]:
        running = psutil.process_iter(["cmdline"])
        return [one.pid for one in running if str(home / "mongo" / "data") in (one.info["cmdline"] or ())]

    return find


@pytest.fixture
def journal(home, tmp_path) -> Iterator[Journal]:
    """An empty journal."""
    journal = Journal.create(tmp_path / "runs")
    yield journal
    journal.close()


@pytest.fixture
def run_document() -> Callable[..., dict]:
    """Makes the run document of a start record."""

    def make(pid: int | None = None, **more) -> dict:
        process = psutil.Process(pid)
        return {
            "format": "MongoObserver-0.7.0",
            "command": "main",
            "status": "RUNNING",
            "start_time": time.time(),
            "heartbeat": time.time(),
            "experiment": {"name": "ex_test", "sources": []},
            "config": {"model": {"arch": "small"}, "seed": 1},
            "host": {"hostname": socket.gethostname()},
            "meta": {"comment": ""},
            "info": {},
            "result": None,
            "captured_out": "",
            "omniboard": {"tags": ["test"]},
            "ostinato": {
                "host": socket.gethostname(),
                "pid": process.pid,
                "pid_started": process.create_time(),
            },
        } | more

    return make


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Do what a command line of the tiny experiment asks for, in this process and an empty folder."""
    monkeypatch.chdir(tmp_path)

    def obey(*words: str, experiment: Experiment = tiny.ex) -> Any:
        return experiment.run_commandline([str(SCRIPT), *words])

    return obey
