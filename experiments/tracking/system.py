"""How hard the machine works for a run: peaks and means of processor, memory and GPU, sampled at each heartbeat."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import psutil


class Sampler:
    """Running peak and mean of each measurement.

    Args:
        measure: returns measurements by name; the default measures this process and its children.
    """

    def __init__(self, measure: Callable[[], dict[str, float]] | None = None):
        self._measure = measure or _Process()
        self._peak: dict[str, float] = {}
        self._sum: dict[str, float] = {}
        self._count: dict[str, int] = {}

    def __call__(self) -> dict[str, Any]:
        """Take one sample and return `{name: {"peak", "mean"}}` over all samples so far."""
        for name, value in self._measure().items():
            self._peak[name] = max(value, self._peak.get(name, value))
            self._sum[name] = self._sum.get(name, 0.0) + value
            self._count[name] = self._count.get(name, 0) + 1
        return {
            name: {"peak": round(peak, 2), "mean": round(self._sum[name] / self._count[name], 2)}
            for name, peak in self._peak.items()
        }


class _Process:
    """CPU in per cent of one core since the last sample, memory in GiB, of this process and its children."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._known = {self._own.pid: self._own}
        self._own.cpu_percent()

    def __call__(self) -> dict[str, float]:
        cpu = memory = 0.0
        alive = {}
        for process in (self._own, *self._own.children(recursive=True)):
            process = self._known.get(process.pid, process)
            try:
                if process.name() == "mongod":  # the embedded server, started by this run for all
                    continue
                cpu += process.cpu_percent()
                memory += process.memory_info().rss / 2**30
            except psutil.Error:
                continue
            alive[process.pid] = process
        self._known = alive
        return {"cpu_percent": cpu, "ram_gb": memory} | _gpu()


def _gpu() -> dict[str, float]:
    """Memory in use on the current GPU, GiB, and how busy it is, per cent; nothing before the run has used one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    free, total = torch.cuda.mem_get_info()
    measured = {"gpu_memory_gb": (total - free) / 2**30}
    with contextlib.suppress(Exception):  # without nvidia-ml-py, and on a card that does not tell
        measured["gpu_percent"] = float(torch.cuda.utilization())
    return measured
