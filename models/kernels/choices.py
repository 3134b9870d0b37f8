"""Which of several kernels is the fastest on this processor: timed where it is first asked for, and remembered.

A choice is kept in the cache, by processor and version of PyTorch. The first process that makes it wins: all later
ones, and those that run at the same time, follow it, so that a command gives the same bits again on the same machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from models.cache import cache_dir
from models.fingerprint import fingerprint
from models.kernels.mode import enabled
from models.machine_code import made_for

VERSION = 1  # of the kernels here: another one has everything timed again
TORCH = "torch"
GAIN = 1.1  # times faster than PyTorch's own: for less, nothing is changed
SECONDS = 0.02  # for the timing of one choice, beside a first turn to warm up
TURNS = 5
# Units in the last place of the largest result by which two may differ; sums of bfloat16 are float32 inside.
ROUNDING = {torch.float32: 64, torch.bfloat16: 4}
CLOCK = 0.1  # seconds that times of files may lie behind
KEPT = 31 * 2**20  # bytes: freed blocks up to this size stay with the process, as in one that trains or extracts

Candidates = Mapping[str, Callable[[], Sequence[Tensor]]]

_lock = threading.RLock()
_chosen: dict[str, str] = {}


def used(since: float) -> dict[str, str]:
    """Kernels by what they do: those of this process, and those that others, such as its workers, looked up since then.

    Args:
        since: Seconds, as `time.time` gives them.
    """
    if not enabled():
        return {}
    found = dict(_chosen)
    for file in _folder().glob("[!.]*.json"):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime >= since - CLOCK and (kernel := _kept(file.stem)) is not None:
                found[file.stem] = kernel
    return dict(sorted(found.items()))


def choice(what: str, candidates: Callable[[], Candidates], gain: float = GAIN) -> str:
    """The name of the kernel to take.

    Args:
        what: Operation, size and type; letters, digits, hyphens. The number of threads is added.
        candidates: Makes the functions to be timed, on numbers of their own. One is called `torch`; all others have to
            agree with it within rounding, or are not taken.
        gain: How many times faster than PyTorch's own another one has to be.
    """
    if not enabled():
        return TORCH
    key = f"{what}-{torch.get_num_threads()}threads"
    if (found := _chosen.get(key)) is not None:
        return found
    with _lock:
        if key not in _chosen:
            _chosen[key] = _kept(key) or _keep(key, candidates, gain)
            with contextlib.suppress(OSError):
                os.utime(_folder() / f"{key}.json")  # see `used`
        return _chosen[key]


def _folder() -> Path:
    return cache_dir() / "kernels" / _machine()


@cache
def _machine() -> str:
    return fingerprint({**made_for(("torch",)), "kernels": VERSION})


def _kept(key: str) -> str | None:
    """What an earlier process chose."""
    try:
        found = json.loads((_folder() / f"{key}.json").read_text(encoding="utf-8"))["kernel"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _keep(key: str, candidates: Callable[[], Candidates], gain: float) -> str:
    """Choose, and write it down unless another process was faster; returns what holds."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.random.fork_rng(devices=[]),
    ):
        milliseconds = _timed(candidates())
    best = min(milliseconds.keys() - {TORCH}, key=lambda name: milliseconds[name], default=TORCH)
    kernel = best if milliseconds[TORCH] > gain * milliseconds[best] else TORCH
    with contextlib.suppress(OSError):  # a cache that cannot be written: every process chooses for itself
        _write(_folder() / f"{key}.json", {"kernel": kernel, "milliseconds": milliseconds})
    return _kept(key) or kernel


def _write(file: Path, found: dict[str, object]) -> None:
    """Make a file as a whole, unless a good one is there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_text(json.dumps(found) + "\n", encoding="utf-8")
        try:
            os.link(aside, file)
        except OSError:  # it is there already, or this file system has no links
            if _kept(file.stem) is None:
                os.replace(aside, file)
    finally:
        aside.unlink(missing_ok=True)


def _timed(candidates: Candidates) -> dict[str, float]:
    """Milliseconds of a turn of every candidate that computes what PyTorch's own does; they take turns."""
    torch.empty(KEPT, dtype=torch.uint8)  # once one of this size was freed, the C library keeps smaller ones
    expected = candidates[TORCH]()
    able = {name: work for name, work in candidates.items() if name == TORCH or agrees(work, expected)}
    turns: dict[str, list[float]] = {name: [] for name in able}
    began = time.perf_counter()
    while len(turns[TORCH]) < TURNS and (not turns[TORCH] or time.perf_counter() - began < SECONDS):
        for name, work in able.items():
            start = time.perf_counter()
            work()
            turns[name].append(1000 * (time.perf_counter() - start))
    return {name: round(min(own), 4) for name, own in turns.items()}


def agrees(work: Callable[[], Sequence[Tensor]], expected: Sequence[Tensor]) -> bool:
    """Whether a candidate runs here, and differs by no more than rounding."""
    try:
        found = work()
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return len(found) == len(expected) and all(_equal(*pair) for pair in zip(found, expected, strict=True))


def _equal(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    allowed = ROUNDING[expected.dtype] * torch.finfo(expected.dtype).eps * expected.abs().max()
    return bool((found - expected).abs().max() <= allowed)


def numbers(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Made without a generator, whose state belongs to others: between -1 and 1, hardly related to each other."""
    count = torch.Size(size).numel()
    return torch.arange(count, dtype=torch.float32).mul_(2.718281828).sin_().view(size).to(dtype)
