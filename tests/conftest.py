"""What tests of every room share: the tiny demo corpus, rendered once a session, and a Dask cluster of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("project", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("project")
os.environ.setdefault("MPLBACKEND", "Agg")
ROOT = Path(__file__).parents[1]
STARTING = 120  # seconds that a part of the Dask cluster has
# Processes of a test run that use librosa themselves must not fill one cache at once (see preprocess.compiled).
_compiled = ROOT / ".pytest_cache" / "numba" / os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["NUMBA_CACHE_DIR"] = str(_compiled)


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Asks until the answer is true, and fails after a deadline."""

    def ask(question: Callable[[], object], seconds: float = 120.0, every: float = 0.02) -> object:
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while time.monotonic() < deadline:
            if answer := question():
                return answer
            pause.wait(every)
        raise AssertionError(f"not so within {seconds} s")

    return ask


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory) -> Path:
    """Folder of the tiny demo corpus: `audio/`, `tracks.csv`."""
    from datasets import demo

    return demo.build("tiny", cache_dir=tmp_path_factory.mktemp("cache"), jobs=1, progress=False)


@pytest.fixture(scope="session")
def tiny_mels(tiny_corpus, tmp_path_factory) -> Path:
    """Mel store of the tiny demo corpus."""
    from preprocess import build_store

    folder = tmp_path_factory.mktemp("features") / "mels"
    build_store(tiny_corpus / "audio", folder, jobs=1, progress=False)
    return folder


class DaskProcesses:
    """A scheduler and workers as the README has them started, on the loopback interface."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, []
        self.address = ""

    def scheduler(self, cwd: Path = ROOT) -> str:
        """Start the scheduler; returns its address."""
        file = self.folder / "scheduler.json"
        process = self._start(cwd, "scheduler", "--port", "0", "--scheduler-file", str(file))
        deadline = time.monotonic() + STARTING
        while not self.address:
            assert process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            if file.exists() and (text := file.read_text()).endswith("}"):
                self.address = json.loads(text)["address"]
        return self.address

    def worker(self, *options: str, cwd: Path = ROOT) -> subprocess.Popen:
        """Start a worker of one thread."""
        return self._start(cwd, "worker", self.address, "--nthreads", "1", *options)

    @property
    def log(self) -> str:
        """What all of them have said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def _start(self, cwd: Path, *words: str) -> subprocess.Popen:
        line = [sys.executable, "-m", "dask", *words, "--host", "127.0.0.1", "--no-dashboard"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "DASK_TEMPORARY_DIRECTORY": str(self.folder)}
        with (self.folder / f"{len(self.started)}.log").open("w") as log:
            process = subprocess.Popen(line, cwd=cwd, env=environment, stdout=log, stderr=log)
        self.started.append(process)
        return process

    def stop(self) -> None:
        """End all, workers first; a worker ends with its nanny."""
        for process in reversed(self.started):
            process.kill()
            process.wait()


@pytest.fixture
def dask_processes(tmp_path_factory) -> Iterator[DaskProcesses]:
    """A Dask cluster to be started by the test."""
    processes = DaskProcesses(tmp_path_factory.mktemp("dask"))
    yield processes
    processes.stop()
