"""Which of several kernels is the fastest on this processor: timed where it is first asked for, and remembered.

A choice is kept in the cache, by processor and version of PyTorch. The first process that makes it wins: all later
ones, and those that run at the same time, follow it, so that a command gives the same bits again on the same machine.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from models.cache import cache_dir
from models.fingerprint import fingerprint
from models.machine_code import made_for

Mode = Literal["auto", "torch"]
TORCH = "torch"
GAIN = 1.1  # times faster than PyTorch's own: for less, nothing is changed
SECONDS = 0.02  # for the timing of one choice, beside a first turn to warm up
TURNS = 5
ROUNDING = 64  # units in the last place of the largest result that two ways to sum may differ by
KEPT = 31 * 2**20  # bytes: freed blocks up to this size stay with the process, as in one that trains or extracts

Candidates = Mapping[str, Callable[[], Sequence[Tensor]]]

_lock = threading.RLock()
_chosen: dict[str, str] = {}
_mode: list[Mode] = ["auto"]


def use(mode: Mode) -> None:
    """Take the fastest kernels from now on in this process (auto), or PyTorch's own alone (torch).

    Raises:
        ValueError: There is no such mode.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"kernels={mode}: give {' or '.join(get_args(Mode))}")
    _mode[0] = mode


def enabled() -> bool:
    """Whether other kernels than PyTorch's own may be taken."""
    return _mode[0] == "auto"


def chosen() -> dict[str, str]:
    """The choices that this process has followed so far: names of kernels by what they do, in which size."""
    with _lock:
        return dict(sorted(_chosen.items()))


def choice(what: str, candidates: Callable[[], Candidates]) -> str:
    """The name of the kernel to take.

    Args:
        what: Operation, size and type; letters, digits, hyphens. The number of threads is added.
        candidates: Makes the functions to be timed, on numbers of their own. One is called `torch`; all others have to
            agree with it within rounding, or are not taken.
    """
    if not enabled():
        return TORCH
    key = f"{what}-{torch.get_num_threads()}threads"
    if (found := _chosen.get(key)) is not None:
        return found
    with _lock:
        if key not in _chosen:
            _chosen[key] = _kept(key) or _keep(key, candidates)
        return _chosen[key]


@cache
def _folder() -> Path:
    return cache_dir() / "kernels" / fingerprint(made_for(("torch",)))


def _kept(key: str) -> str | None:
    """What an earlier process chose."""
    try:
        found = json.loads((_folder() / f"{key}.json").read_text(encoding="utf-8"))["kernel"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _keep(key: str, candidates: Callable[[], Candidates]) -> str:
    """Choose, and write it down unless another process was faster; returns what holds."""
    with torch.inference_mode(False), torch.autocast("cpu", enabled=False):
        milliseconds = _timed(candidates())
    best = min(milliseconds, key=lambda name: milliseconds[name])
    kernel = best if milliseconds[TORCH] > GAIN * milliseconds[best] else TORCH
    file = _folder() / f"{key}.json"
    aside = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps({"kernel": kernel, "milliseconds": milliseconds}) + "\n", encoding="utf-8")
        os.link(aside, file)
    except OSError:  # it is there already, or nothing can be kept here
        return _kept(key) or kernel
    finally:
        aside.unlink(missing_ok=True)
    return kernel


def _timed(candidates: Candidates) -> dict[str, float]:
    """Milliseconds of a turn of every candidate that computes what PyTorch's own does; they take turns."""
    torch.empty(
        KEPT, dtype=torch.uint8
    )  # the C library hands smaller blocks back no more once one of this size was freed
    expected = candidates[TORCH]()
    able = {name: work for name, work in candidates.items() if name == TORCH or _agrees(work, expected)}
    turns: dict[str, list[float]] = {name: [] for name in able}
    began = time.perf_counter()
    while len(turns[TORCH]) < TURNS and (not turns[TORCH] or time.perf_counter() - began < SECONDS):
        for name, work in able.items():
            start = time.perf_counter()
            work()
            turns[name].append(1000 * (time.perf_counter() - start))
    return {name: round(min(own), 4) for name, own in turns.items()}


def _agrees(work: Callable[[], Sequence[Tensor]], expected: Sequence[Tensor]) -> bool:
    """Whether a candidate runs here, and differs by no more than rounding."""
    try:
        found = work()
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return len(found) == len(expected) and all(_equal(*pair) for pair in zip(found, expected, strict=True))


def _equal(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    allowed = ROUNDING * torch.finfo(expected.dtype).eps * expected.abs().max()
    return bool((found - expected).abs().max() <= allowed)


def numbers(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Made without a generator, whose state belongs to others: between -1 and 1, hardly related to each other."""
    count = torch.Size(size).numel()
    return torch.arange(count, dtype=torch.float32).mul_(2.718281828).sin_().view(size).to(dtype)
