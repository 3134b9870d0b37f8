"""Memory that a step has freed is used by the next one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from models.kernels import memory

STEPS = """
import resource, torch
from models.kernels.memory import keep_freed_memory
def step():
    held = [torch.zeros(2**20) for _ in range(64)]  # 65,536 pages
    while held:
        held.pop()
def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
assert keep_freed_memory()
for _ in range(6):
    step()
before = page_faults()
for _ in range(4):
    step()
print(page_faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have no such setting")
def test_a_step_gets_the_pages_of_the_one_before():
    ran = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 5000


def test_another_system_or_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed_memory()
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_freed_memory()
