"""The cache of compiled functions: filled once, however many processes want it, and made anew after a crash."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datasets.store import Store
from preprocess import AudioError, compiled

ROOT = Path(__file__).parents[2]
SUMMARISE = """
import numpy
from preprocess.summaries import summarise
print(summarise(numpy.sin(numpy.arange(44100, dtype="float32") / 10), "key_krumhansl").tolist())
"""


def environment(cache: Path) -> dict[str, str]:
    """Of a process with this cache."""
    kept = {name: value for name, value in os.environ.items() if name != compiled.VARIABLE}
    return {**kept, "OSTINATO_CACHE": str(cache), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(cache: Path, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], env=environment(cache), stdout=pipe, stderr=pipe, text=True)


@pytest.fixture(scope="module")
def started_at_once(tmp_path_factory) -> tuple[Path, list[tuple[str, str, int]]]:
    """A cache that was empty when three processes wanted it, and the output, errors and exit code of each.

    What librosa needs is compiled once here, which takes ten seconds and more, and shared by the tests.
    """
    cache = tmp_path_factory.mktemp("compiled")
    processes = [start(cache, "-c", SUMMARISE) for _ in range(3)]
    return cache, [(*process.communicate(), process.returncode) for process in processes]


def check_all_got_the_same(ends: list[tuple[str, str, int]]) -> None:
    assert [(errors, code) for _, errors, code in ends] == [("", 0)] * 3
    assert len({out for out, _, _ in ends}) == 1


def test_processes_that_start_on_an_empty_cache_all_get_the_same(started_at_once):
    check_all_got_the_same(started_at_once[1])


@pytest.mark.nightly
@pytest.mark.parametrize("number", range(20))
def test_processes_that_start_on_an_empty_cache_all_get_the_same_again_and_again(number: int, tmp_path: Path):
    processes = [start(tmp_path, "-c", SUMMARISE) for _ in range(3)]
    check_all_got_the_same([(*process.communicate(), process.returncode) for process in processes])


def spoil(cache: Path) -> int:
    """Give every compiled variant of a function the code of another one, as two writers at once do."""
    variants: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(cache.rglob("guf-*.nbc")):
        variants[re.sub(r"\.\d+\.nbc$", "", str(path))].append(path)
    for paths in variants.values():
        codes = [path.read_bytes() for path in paths]
        for path, code in zip(paths, codes[1:] + codes[:1], strict=True):
            path.write_bytes(code)
    return sum(len(paths) > 1 for paths in variants.values())


def test_a_crash_in_compiled_code_is_retried_with_a_fresh_cache(started_at_once, tmp_path: Path):
    cache = tmp_path / "cache"
    shutil.copytree(started_at_once[0], cache)
    (tmp_path / "audio").mkdir()
    for name, width in (("a", 10), ("b", 12)):
        soundfile.write(tmp_path / "audio" / f"{name}.wav", 0.3 * np.sin(np.arange(22_050) / width), 22_050)

    def build(store: Path) -> str:
        command = ["-m", "preprocess", str(tmp_path / "audio"), str(store), "--frontend", "key_krumhansl"]
        process = start(cache, *command, "--jobs", "2")
        said = process.communicate()[1]
        assert process.returncode == 0, said
        return said

    build(tmp_path / "whole")
    assert spoil(cache) > 0
    assert "once more with a fresh cache" in build(tmp_path / "again")
    first, second = Store(tmp_path / "whole"), Store(tmp_path / "again")
    assert {id: first.read(id).tolist() for id in first.ids} == {id: second.read(id).tolist() for id in second.ids}
    assert sorted(second.ids) == ["a.wav", "b.wav"]


PREPARE = "import sys; sys.executable = sys.argv[1]; from preprocess import compiled; compiled.prepare('mfcc')"


def test_a_process_that_is_killed_leaves_its_lock_to_the_one_that_compiles(tmp_path: Path):
    started, compiler = tmp_path / "started", tmp_path / "compiler"
    compiler.write_text(f"#!/bin/sh\necho $$ > {started}.new\nmv {started}.new {started}\nexec sleep 600\n")
    compiler.chmod(0o700)
    process = start(tmp_path / "cache", "-c", PREPARE, str(compiler))
    while not started.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.kill()
    process.communicate()
    (lock,) = (tmp_path / "cache").rglob("lock")
    with lock.open() as file:
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.kill(int(started.read_text()), signal.SIGKILL)
        fcntl.flock(file, fcntl.LOCK_EX)


def test_a_folder_that_cannot_be_written_to_is_named_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv(compiled.VARIABLE, os.environ.get(compiled.VARIABLE, ""))
    compiled.prepare.cache_clear()
    with pytest.raises(AudioError, match="set OSTINATO_CACHE to a writable folder"):
        compiled.prepare("mfcc")
