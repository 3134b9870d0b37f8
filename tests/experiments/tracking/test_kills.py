"""Forty kills of the server, one kill after another of a training: in the end the database holds what it should.

This takes longer than other tests, two to four minutes: a killed MongoDB needs seconds to recover its files,
and what it may lose it loses in one kill out of six.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import pytest

from experiments.tracking import artifacts
from experiments.tracking.journal import Journal
from experiments.tracking.location import open_database
from experiments.tracking.server import EmbeddedServer, status
from experiments.tracking.uploader import Uploader, Waits

KILLS = 40
QUICK = Waits(poll=0.02, first=0.02, longest=0.2, draining=0.1, restart=0.1)
SECONDS = 800.0  # for all of it, on a busy machine


class Writer(threading.Thread):
    """Writes files, points and information into a journal until it is told to end it."""

    def __init__(self, journal: Journal):
        super().__init__(name="writer", daemon=True)
        self.journal, self.files, self.over = journal, 0, threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            name = f"picture{self.files:05d}.txt"
            (self.journal.directory / "files" / name).write_text(f"content of {name}")
            self.journal.append("artifact", name=name, file=f"files/{name}", bytes=1)
            self.journal.append("metrics", name=f"s{self.files % 7}", points=[[self.files, 0.5, 1.0]])
            if self.files % 10 == 0:
                self.journal.append("info", set={f"info.part{self.files % 50}": self.files})
            self.files += 1
            self.over.wait(0.03)
        self.journal.append("end", status="COMPLETED", stop_time=2.0, result={"files": self.files}, fail_trace=None)


@pytest.mark.timeout(900)
def test_forty_kills_of_the_server_lose_nothing(journal, run_document, home, eventually):
    """Half of the time somebody else starts it again at once, so that a driver could go on as if nothing had been."""
    chance, deadline = random.Random(8), time.monotonic() + SECONDS
    server = EmbeddedServer()
    server.acquire()
    try:
        journal.append("start", document=run_document(), sources=[])
        uploader = Uploader(journal.directory, lambda: open_database(server.revive()), waits=QUICK)
        uploader.start()
        writer = Writer(journal)
        writer.start()
        for kill in range(KILLS):
            sent = uploader._safe
            eventually(lambda sent=sent: uploader._safe > sent and status() is not None)
            writer.over.wait(chance.random() * 0.2)
            os.kill(eventually(status).pid, signal.SIGKILL)
            if kill % 2:
                server.revive()
        writer.over.set()
        writer.join()
        assert uploader.drain(deadline - time.monotonic()) == 0
        database = open_database(server.revive())
        run = database["runs"].find_one({})
        names = [f"picture{n:05d}.txt" for n in range(writer.files)]
        held = {entry["name"]: artifacts.get(database, entry["file_id"]) for entry in run["artifacts"]}
        assert sorted(held.keys() - {"metrics.parquet"}) == names
        assert all(held[name] == f"content of {name}".encode() for name in names)
        assert not artifacts.incomplete(database, [entry["file_id"] for entry in run["artifacts"]])
        series = {entry["name"]: entry["steps"] for entry in database["metrics"].find({})}
        assert series == {f"s{n}": list(range(n, writer.files, 7)) for n in range(7)}
        assert len(run["info"]["metrics"]) == 7
        parts = {n: max(range(n, writer.files, 50)) for n in range(0, min(writer.files, 50), 10)}
        assert {key: value for key, value in run["info"].items() if key.startswith("part")} == {
            f"part{n}": value for n, value in parts.items()
        }
        assert (run["status"], run["result"]) == ("COMPLETED", {"files": writer.files})
        assert not list((home / "pending").iterdir())
        database.client.close()
    finally:
        server.release()
