"""Files of numpy arrays that anybody may have written: read without pickles, within their size, or refused.

The message of an error says in a few words what is wrong; whoever asked for the file names it.
"""

from __future__ import annotations

import math
import os
import stat
import zipfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

LARGEST = 2**34  # bytes of all arrays of a compressed archive
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class NpyHead(NamedTuple):
    """What the head of a file states."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        """How many the values take."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def order(self) -> str:
        """Of the axes, as numpy names it."""
        return "F" if self.fortran_order else "C"


def read_head(file: BinaryIO) -> NpyHead:
    """The head of a `.npy` file, which is left where the values begin.

    Raises:
        ValueError: It is damaged, or states what no plain array has: objects, a negative length.
    """
    try:
        version = npy.read_magic(file)
        if version not in _READERS:
            raise ValueError(f"version {version} of the format; 1 and 2 are read")
        head = NpyHead(*_READERS[version](file))
    except ValueError as error:
        raise ValueError(str(error).partition("\n")[0]) from None
    except Exception as error:  # the parser behind it has its own for every kind of nonsense
        raise ValueError(f"a damaged header ({type(error).__name__})") from None
    if head.dtype.hasobject:
        raise ValueError("an array of objects; such a file can hold programs and is not read")
    if any(type(length) is not int or length < 0 for length in head.shape):
        raise ValueError(f"a shape of {list(head.shape)}")
    return head


def map_array(path: Path) -> np.memmap:
    """The array of real numbers of a `.npy` file, read-only and read where it is looked at.

    Raises:
        ValueError: No plain file, damaged, empty, or shorter than its head states.
        OSError: It cannot be opened.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a plain file")
        head = read_head(file)
        if head.dtype.kind not in "fiub":
            raise ValueError(f"{head.dtype} is not a type of real numbers")
        if not 0 < head.bytes <= status.st_size - file.tell():
            raise ValueError(f"{head.dtype} of shape {head.shape} in {status.st_size} bytes")
        return np.memmap(file, head.dtype, "r", file.tell(), head.shape, head.order)


def read_npy(path: Path) -> np.ndarray:
    """The array of a `.npy` file.

    Raises:
        ValueError: It cannot be read, is damaged, cut short, or holds objects.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise ValueError("several arrays in one archive (.npz) under the name of .npy")
            file.seek(0)
            return _read(file, path.stat().st_size)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file, by name; errors as in `read_npy`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > LARGEST:
                raise ValueError(f"its arrays would take more than {LARGEST:,} bytes")
            found = {}
            for member in members:
                with archive.open(member) as file:
                    found[member.filename.removesuffix(".npy")] = _read(file, member.file_size)
            return found
    except ValueError:
        raise
    except Exception as error:  # zipfile and its decompressors raise a dozen classes over a damaged file
        raise ValueError(f"a damaged archive: {str(error) or type(error).__name__}") from error


def _read(file: BinaryIO, size: int) -> np.ndarray:
    """The array of an open file of `size` bytes."""
    head = read_head(file)
    if head.bytes > size:
        raise ValueError(f"a shape of {list(head.shape)}, of which {size:,} bytes do not hold the values")
    data = file.read(head.bytes)
    if len(data) < head.bytes:
        raise ValueError(f"it ends early, {head.bytes - len(data):,} bytes are missing")
    return np.frombuffer(bytearray(data), dtype=head.dtype).reshape(head.shape, order=head.order)
