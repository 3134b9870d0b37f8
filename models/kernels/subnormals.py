"""Subnormal numbers, those below 1.2e-38 in float32, count as zero.

Weight decay takes the weights of dead channels there, up to three fifths of published networks, and many processors
compute with such numbers a hundred times slower. What they add to a sum of others is lost in rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain
from typing import TypeVar

import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)


@contextlib.contextmanager
def flushing() -> Iterator[None]:
    """Take them for zero for a while, wherever they come from, in this thread and in those that it starts.

    The threads that PyTorch computes with are started by the first operation that is large enough for them, and keep to
    what they began with: those that are there already, and afterwards those that came meanwhile.
    """
    if _flushed():
        yield
        return
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def without_subnormals(network: N) -> N:
    """The network with zeros in the place of all subnormal weights, in place."""
    with torch.no_grad():
        for weight in chain(network.parameters(), network.buffers()):
            if weight.is_floating_point():
                weight[weight.abs() < _smallest(weight.dtype)] = 0
    return network


def _smallest(dtype: torch.dtype) -> float:
    """That is kept: numbers that are subnormal in float16 alone are weights like any other."""
    return min(torch.finfo(dtype).tiny, torch.finfo(torch.float32).tiny)


def _flushed() -> bool:
    """Whether this thread flushes them already."""
    return bool(torch.tensor(2 * torch.finfo(torch.float32).tiny) / 4 == 0)
