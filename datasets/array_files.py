"""Files of numpy arrays, read without pickles and without allocating what a file only claims to hold."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

LARGEST = 2**34  # bytes of all arrays of a compressed archive


def read_npy(path: Path) -> np.ndarray:
    """The array of a `.npy` file.

    Raises:
        ValueError: It is damaged, cut short, or holds objects; the message does not name the file.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise ValueError("several arrays in one archive (.npz) under the name of .npy")
            file.seek(0)
            return _array(file, path.stat().st_size)
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
                    found[member.filename.removesuffix(".npy")] = _array(file, member.file_size)
            return found
    except ValueError:
        raise
    except Exception as error:  # zipfile and its decompressors raise a dozen classes over a damaged file
        raise ValueError(f"a damaged archive: {str(error) or type(error).__name__}") from error


def _array(file: BinaryIO, size: int) -> np.ndarray:
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"version {version} of the format")
        shape, fortran, dtype = read(file)
    except ValueError:
        raise
    except Exception as error:  # whatever numpy's parser of headers makes of a damaged one
        raise ValueError(f"a damaged header ({type(error).__name__})") from error
    if dtype.hasobject:
        raise ValueError("an array of objects; such a file can hold programs and is not read")
    if any(length < 0 for length in shape):
        raise ValueError(f"a shape of {list(shape)}")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > size:
        raise ValueError(f"a shape of {list(shape)}, of which {size:,} bytes do not hold the values")
    data = file.read(wanted)
    if len(data) < wanted:
        raise ValueError(f"it ends early, {wanted - len(data):,} bytes are missing")
    array = np.frombuffer(bytearray(data), dtype=dtype)
    return array.reshape(shape, order="F" if fortran else "C")
