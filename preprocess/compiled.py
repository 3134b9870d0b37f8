"""A cache of librosa's compiled functions that only one process fills.

librosa compiles functions with numba where they are first used, and numba keeps the machine code beside librosa's
source. Two processes that fill this cache at once leave an index that names the wrong code: every process that loads it
afterwards ends with SIGSEGV (numba issue 10128, librosa issue 1998). So the cache lies in a folder of its own, keyed by
what the code was compiled by and for, and one process fills it, for everything that a summary needs, before any other
reads it.

    python -m preprocess.compiled chroma      # what `prepare` runs in a process of its own
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from datasets.cache import cache_dir
from datasets.store_files import open_lock
from models.fingerprint import fingerprint
from models.machine_code import made_for
from preprocess.sources import AudioError

VARIABLE = "NUMBA_CACHE_DIR"
PACKAGES = ("numba", "llvmlite", "librosa", "numpy")


def folder() -> Path:
    """Where the compiled functions lie: one folder for every combination of versions, Python and processor."""
    return cache_dir() / "numba" / fingerprint(made_for(PACKAGES))


@cache
def prepare(summary: str) -> None:
    """Have this process read the shared cache, which is filled first, by one process, if it lacks what `summary` needs.

    Call it before librosa is imported: afterwards its functions have chosen their cache.

    Args:
        summary: Key of `preprocess.summaries.SUMMARIES`.

    Raises:
        AudioError: The functions cannot be compiled, or the folder cannot be written to.
    """
    where = folder()
    _read_from(where)
    with _alone(where) as lock:
        done = where / f"{summary}.done"
        if done.exists():
            return
        _fill(summary, where, lock)
        done.touch()


def discard() -> None:
    """Drop the compiled functions, so that the next process that needs them compiles them anew."""
    where = folder()
    with _alone(where):
        _empty(where)
    prepare.cache_clear()


def _read_from(where: Path) -> None:
    os.environ[VARIABLE] = str(where)
    if "numba" in sys.modules:  # it reads the variable once
        sys.modules["numba"].config.CACHE_DIR = str(where)


def _fill(summary: str, where: Path, lock: int) -> None:
    ended = _run(summary, where, lock)
    if ended.returncode < 0:  # killed by what was in the cache
        _empty(where)
        ended = _run(summary, where, lock)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        raise AudioError(where, f"librosa's functions for {summary} could not be compiled into this folder: {last}")


def _run(summary: str, where: Path, lock: int) -> subprocess.CompletedProcess[str]:
    """Compile; the process inherits the lock, which it goes on holding should this one be killed."""
    search = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = {**os.environ, VARIABLE: str(where), "PYTHONPATH": search}
    command = [sys.executable, "-m", "preprocess.compiled", summary]
    return subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", pass_fds=(lock,))


def _empty(where: Path) -> None:
    """The marks go first: whoever reads the folder meanwhile compiles what is gone for itself, and nobody trusts it."""
    for mark in where.glob("*.done"):
        mark.unlink()
    for functions in filter(Path.is_dir, list(where.iterdir())):
        shutil.rmtree(functions, ignore_errors=True)


@contextmanager
def _alone(where: Path) -> Iterator[int]:
    """Alone among the processes that write to the folder; gives the descriptor that holds its lock."""
    try:
        where.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(where / "lock")
    except OSError as error:
        raise AudioError(
            where, f"compiled functions cannot be kept here ({error.strerror}): set OSTINATO_CACHE to a writable folder"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def main() -> None:
    """Run a summary once, on two seconds of noise, so that numba compiles what it needs and keeps it."""
    import numpy as np

    from preprocess.summaries import SAMPLE_RATE, SUMMARIES

    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE)
    SUMMARIES[sys.argv[1]].vector(noise.astype(np.float32))


if __name__ == "__main__":
    main()
