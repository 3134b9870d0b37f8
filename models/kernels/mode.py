"""Whether other kernels than PyTorch's own may be taken: one answer for a process and those that it starts.

It is kept in the environment, `OSTINATO_KERNELS=torch`, so that workers follow. Nothing here needs PyTorch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Literal, get_args

Mode = Literal["auto", "torch"]
VARIABLE = "OSTINATO_KERNELS"


class UnknownMode(ValueError):
    """The variable of the environment holds no mode."""


def enabled() -> bool:
    """Whether other kernels may be taken.

    Raises:
        UnknownMode: the variable holds something else.
    """
    mode = os.environ.get(VARIABLE) or "auto"
    if mode not in get_args(Mode):
        raise UnknownMode(f"{VARIABLE}={mode}: expected {' or '.join(get_args(Mode))}")
    return mode == "auto"


@contextlib.contextmanager
def using(mode: Mode) -> Iterator[None]:
    """PyTorch's own kernels alone (torch) for a while, or whatever holds already (auto)."""
    before = os.environ.get(VARIABLE)
    if mode == "torch":
        os.environ[VARIABLE] = mode
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before
