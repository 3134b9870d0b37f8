"""What the record of a run costs its training while the database is well, killed, frozen for a while and for good.

    python -m benchmarks.tracking [--steps 400] [--pause 0.02]

A process sleeps and appends a scalar to its journal, over and over, as a training does, while the uploader copies them
to an embedded server. After a fifth of the steps this process kills or freezes that server; after two fifths more it
continues a frozen one, unless it is frozen for good. How much longer than asked the process sleeps shows what the
machine by itself takes from it. The uploader waits as in a real run, but for the rests between its attempts, which are
shortened so that many of them fall into the outage.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.machine import cpu_name
from experiments.tracking.journal import Journal
from experiments.tracking.location import Location
from experiments.tracking.server import EmbeddedServer, status
from experiments.tracking.uploader import Uploader, Waits

OUTAGES = ("none", "killed", "frozen", "frozen for good")
DRAIN = 10.0  # seconds, as a run waits at its end unless told otherwise
WAITS = Waits(poll=0.1, first=0.1, longest=1.0, draining=0.3, restart=1.0)


def train(runs: str, steps: int, pause: float) -> None:
    """The process that is measured: prints every step, then its figures in seconds."""
    server = EmbeddedServer()
    location = Location("embedded", "", server.acquire(), server)
    journal = Journal.create(runs)
    journal.append("start", document={"status": "RUNNING", "info": {}, "ostinato": {}}, sources=[])
    uploader = Uploader(journal.directory, location.connect, waits=WAITS)
    uploader.start()
    uploader.wait_for_number(30)
    appends, overslept, rest, began = [], [], threading.Event(), time.perf_counter()
    for step in range(steps):
        before = time.perf_counter()
        rest.wait(pause)
        between = time.perf_counter()
        journal.append("metrics", name="loss", points=[[step, 0.5, time.time()]])
        appends.append(time.perf_counter() - between)
        overslept.append(between - before - pause)
        print(step, flush=True)
    took = time.perf_counter() - began
    journal.append("end", status="COMPLETED", stop_time=time.time(), result=None, fail_trace=None)
    before = time.perf_counter()
    left = uploader.drain(DRAIN)
    ended = time.perf_counter() - before
    server.release()
    print(max(appends), max(overslept), sum(appends) / took, ended, left, flush=True)


def measure(outage: str, steps: int, pause: float) -> list[float]:
    """Longest append, longest oversleeping, share of the time in appends, time of the drain (s), records left."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["OSTINATO_HOME"] = f"{scratch}/home"
        server = EmbeddedServer()
        server.acquire()
        pid = status().pid
        command = [sys.executable, "-m", "benchmarks.tracking", "--train", f"{scratch}/runs"]
        command += ["--steps", str(steps), "--pause", str(pause)]
        try:
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                for line in process.stdout:
                    if line.strip() == str(steps // 5) and outage != "none":
                        os.kill(pid, signal.SIGKILL if outage == "killed" else signal.SIGSTOP)
                    if line.strip() == str(3 * steps // 5) and outage == "frozen":
                        os.kill(pid, signal.SIGCONT)
        finally:
            if outage.startswith("frozen"):
                os.kill(pid, signal.SIGCONT)
            server.release()
    if process.returncode:
        raise SystemExit(f"the training ended with code {process.returncode}")
    return [float(word) for word in line.split()]


def append_cost(records: int = 5000, rounds: int = 7) -> float:
    """CPU seconds that one scalar takes in the journal, of the fastest round."""
    best = float("inf")
    with tempfile.TemporaryDirectory() as scratch:
        journal = Journal.create(Path(scratch) / "runs", home=Path(scratch) / "home")
        for _ in range(rounds):
            began = time.process_time()
            for step in range(records):
                journal.append("metrics", name="loss", points=[[step, 0.5, 1.0]])
            best = min(best, (time.process_time() - began) / records)
        journal.close()
    return best


def main() -> None:
    """Let the outages happen one after the other, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds of a step")
    parser.add_argument("--train", metavar="RUNS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.train, options.steps, options.pause)
        return
    table = Table(title=f"{options.steps} steps of {1e3 * options.pause:.0f} ms, a scalar each", title_justify="left")
    for column in ("server", "longest append, ms", "longest oversleeping, ms", "share of time", "drain, s", "left"):
        table.add_column(column, justify="left" if column == "server" else "right")
    for outage in OUTAGES:
        longest, overslept, share, drain, left = measure(outage, options.steps, options.pause)
        times = (f"{1e3 * longest:.2f}", f"{1e3 * overslept:.2f}", f"{share:.2%}", f"{drain:.2f}", f"{left:.0f}")
        table.add_row(outage, *times)
    console = Console(width=110)
    console.print(table)
    console.print(f"a scalar in the journal: {1e6 * append_cost():.1f} µs of CPU time")
    console.print(f"{cpu_name()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
