"""Numba functions compiled once for a machine and kept in the cache.

Numba's own cache is safe with several processes only where a function has one signature and its source never changes:
the index of a function is written before the code that it names, so that a process may meet the new index beside the
code of another signature, processor or version of the source. Here each function has one signature, and lies in a
folder whose name follows from versions, processor and source; whatever is written there twice is the same.
"""

from __future__ import annotations

import inspect
import os
import platform
import threading
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from models.cache import cache_dir
from models.fingerprint import fingerprint

PACKAGES = ("numba", "llvmlite", "numpy")
_LOCK = threading.Lock()


def made_for(packages: Iterable[str]) -> dict[str, Any]:
    """What machine code depends on besides its source: versions of packages and Python, the processor."""
    versions = {name: version(name) for name in packages}
    machine = {"machine": platform.machine(), "processor": _processor(), "python": platform.python_version()}
    return {**versions, **machine}


@cache
def compiled(function: Callable[..., Any], signature: str) -> Callable[..., Any]:
    """A function in machine code, from the cache where it is there, that runs without the interpreter's lock.

    Call it where the function is needed, not on import: compiling takes seconds, and numba a while to import.

    Args:
        function: Of a module's top level; numba must know how to compile it.
        signature: The one signature it has, as numba writes it.
    """
    import numba

    with _LOCK:
        folder = _folder(Path(inspect.getfile(function)))
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder or "")
        try:
            return numba.njit(signature, nogil=True, cache=folder is not None)(function)
        finally:
            numba.config.CACHE_DIR = before


def _folder(source: Path) -> Path | None:
    """Where the functions of a file are kept; None where nothing can be: they are then compiled by every process."""
    text = source.read_text(encoding="utf-8")
    folder = cache_dir() / "numba" / fingerprint({**made_for(PACKAGES), "source": text})
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _processor() -> list[str]:
    """Name and instructions of the first processor, as Linux lists them; elsewhere only its name."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return [platform.processor()]
    return [line for line in first.splitlines() if line.startswith(("model name", "flags", "CPU", "Features"))]
