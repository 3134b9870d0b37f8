"""The head of a ``.npy`` file that anybody may have written: checked, or refused in a few words."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class NpyHead(NamedTuple):
    """What the head of a file states, and where the numbers begin."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    start: int

    @property
    def stop(self) -> int:
        """Size that the file needs to hold what its head states."""
        return self.start + math.prod(self.shape) * self.dtype.itemsize


def read_head(file: BinaryIO) -> NpyHead:
    """The head of a file of real numbers.

    Raises:
        ValueError: it is damaged or states what no array has: objects, no size or one below 0.
    """
    try:
        read = _READERS[npy.read_magic(file)]
        shape, fortran_order, dtype = read(file)
    except KeyError:
        raise ValueError("no .npy of version 1 or 2") from None
    except Exception as error:  # the parser behind it has its own for every kind of nonsense
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from None
    if dtype.kind not in "fiub":
        raise ValueError(f"{dtype} is not a type of real numbers")
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"no array has the shape {shape}")
    return NpyHead(shape, fortran_order, dtype, file.tell())


def map_array(path: Path) -> np.memmap:
    """The array of a file, read-only and read where it is looked at.

    Raises:
        ValueError: no plain file, damaged, empty, or shorter than its head states.
        OSError: it cannot be opened.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a plain file")
        head = read_head(file)
        if not 0 < head.stop - head.start <= status.st_size - head.start:
            raise ValueError(f"{head.dtype} of shape {head.shape} in {status.st_size} bytes")
        order = "F" if head.fortran_order else "C"
        return np.memmap(file, head.dtype, "r", head.start, head.shape, order)
