"""Memory that a step has freed is used by the next one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from models.kernels import memory

STEPS = """
import resource, sys, torch
from models.kernels.memory import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit("not kept")
def step():
    kept = [torch.zeros(2**20) for _ in range(64)]
    while kept:
        kept.pop()
step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step(), step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have no such setting")
def test_a_step_gets_the_pages_of_the_one_before():
    assert 8 * page_faults("kept") < page_faults("given back")


def test_another_system_or_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed_memory()
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_freed_memory()
