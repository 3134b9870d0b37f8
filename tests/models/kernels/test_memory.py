"""Freed memory stays with a process that asks for it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from models.kernels import memory

BLOCKS = """
import ctypes, sys
from pathlib import Path
from models.kernels.memory import keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def resident():
    return 4 * int(Path("/proc/self/statm").read_text().split()[1]) // 1024  # MB
if sys.argv[1] == "kept":
    assert keep_freed_memory()
before = resident()
blocks = [libc.malloc(4 * 2**20) for _ in range(64)]
for block in blocks:
    ctypes.memset(block, 1, 4 * 2**20)
assert resident() - before > 250
while blocks:
    libc.free(blocks.pop())
print(resident() - before)
"""


def left(how: str) -> int:
    """MB that a process holds after it has freed 256."""
    return int(subprocess.run([sys.executable, "-c", BLOCKS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_what_was_freed_is_kept_for_the_next_step():
    assert left("kept") > 250
    assert left("given back") < 20


def test_another_system_or_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed_memory()
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_freed_memory()
