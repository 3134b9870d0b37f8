"""The cache of compiled functions: filled once, however many processes want it, and made anew after a crash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
ROUNDS = [pytest.param(number, marks=[pytest.mark.nightly] if number else []) for number in range(20)]


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """Of a process whose cache is empty."""
    kept = {name: value for name, value in os.environ.items() if name != compiled.VARIABLE}
    return {**kept, "OSTINATO_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", ROUNDS)
def test_processes_that_start_on_an_empty_cache_all_get_the_same(number: int, environment: dict[str, str]):
    processes = [start(environment, "-c", SUMMARISE) for _ in range(3)]
    ends = [(*process.communicate(), process.returncode) for process in processes]
    assert [(errors, code) for _, errors, code in ends] == [("", 0)] * 3
    assert len({out for out, _, _ in ends}) == 1


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


def test_a_crash_in_compiled_code_is_retried_with_a_fresh_cache(environment: dict[str, str], tmp_path: Path):
    (tmp_path / "audio").mkdir()
    for name in ("a", "b"):
        tone = 0.3 * np.sin(np.arange(22_050) / (10 if name == "a" else 12))
        soundfile.write(tmp_path / "audio" / f"{name}.wav", tone, 22_050)
    command = ["-m", "preprocess", str(tmp_path / "audio"), str(tmp_path / "whole"), "--frontend", "key_krumhansl"]
    whole = start(environment, *command, "--jobs", "2")
    assert (whole.communicate()[0], whole.returncode)[1] == 0
    assert spoil(tmp_path / "cache") > 0
    command[3] = str(tmp_path / "again")
    again = start(environment, *command, "--jobs", "2")
    assert "once more with a fresh cache" in again.communicate()[1]
    assert again.returncode == 0
    first, second = Store(tmp_path / "whole"), Store(tmp_path / "again")
    assert {id: first.read(id).tolist() for id in first.ids} == {id: second.read(id).tolist() for id in second.ids}
    assert sorted(second.ids) == ["a.wav", "b.wav"]


def test_a_folder_that_cannot_be_written_to_is_named_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv(compiled.VARIABLE, os.environ.get(compiled.VARIABLE, ""))
    compiled.prepare.cache_clear()
    with pytest.raises(AudioError, match="set OSTINATO_CACHE to a writable folder"):
        compiled.prepare("mfcc")
