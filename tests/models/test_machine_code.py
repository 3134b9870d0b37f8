"""Compiled functions are kept, shared by processes that start at once, and do without a cache where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from models import machine_code
from models.machine_code import compiled

ROOT = Path(__file__).parents[2]
COMPILE = """
import numpy
from models.machine_code import compiled
from tests.models.test_machine_code import doubled
values = numpy.arange(3.0)
compiled(doubled, "void(float64[::1])")(values)
print(values.tolist())
"""


def doubled(values):
    """Compiled in the tests."""
    for place in range(len(values)):
        values[place] *= 2


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    compiled.cache_clear()
    return tmp_path / "cache"


def test_a_function_is_compiled_once_and_then_read(cache):
    before = numba.config.CACHE_DIR
    first = compiled(doubled, "void(float64[::1])")
    compiled.cache_clear()
    second = compiled(doubled, "void(float64[::1])")
    assert sum(first.stats.cache_misses.values()) == 1
    assert sum(second.stats.cache_hits.values()) == 1
    assert before == numba.config.CACHE_DIR
    values = np.arange(3.0)
    second(values)
    assert values.tolist() == [0, 2, 4]
    assert len(list(cache.rglob("*.nbc"))) == 1


def test_another_source_processor_or_version_has_a_folder_of_its_own(cache, monkeypatch, tmp_path):
    source = tmp_path / "source.py"
    source.write_text("one")
    folders = {machine_code._folder(source)}
    source.write_text("two")
    folders.add(machine_code._folder(source))
    monkeypatch.setattr(machine_code, "_processor", lambda: ["another"])
    folders.add(machine_code._folder(source))
    monkeypatch.setattr(machine_code, "version", lambda name: "another")
    folders.add(machine_code._folder(source))
    assert len(folders) == 4


def test_a_function_runs_where_nothing_can_be_kept(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "file"))
    compiled.cache_clear()
    values = np.ones(2)
    compiled(doubled, "void(float64[::1])")(values)
    assert values.tolist() == [2, 2]


def test_processes_that_start_on_an_empty_cache_all_get_the_same(cache):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", COMPILE], env=environment, **pipes) for _ in range(2)]
    ends = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert [(errors, code) for _, errors, code in ends] == [("", 0)] * 2
    assert {out for out, _, _ in ends} == {"[0.0, 2.0, 4.0]\n"}
    assert len(list(cache.rglob("*.nbc"))) == 1
