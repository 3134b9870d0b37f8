"""Reading pickled ground truth without running what a pickle can ask for.

A pickle names functions, and its reader calls them. Here every name is refused but the four that numpy arrays are made
of, and those lead to small classes of this file instead of numpy: what comes out has passed through ``frombuffer`` with
a plain numeric type, whatever the file says.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from datasets.store_files import StoreError


class _DType:
    """Stands in for ``numpy.dtype``."""

    def __init__(self, name: str, align: bool = False, copy: bool = False) -> None:
        self.dtype = np.dtype(str(name))
        if self.dtype.kind not in "biuf":
            raise pickle.UnpicklingError(f"an array of {name!r}; only truth values, integers and floats are read")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for ``numpy.ndarray``."""

    array: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.array = _from_bytes(data, dtype, shape, "F" if fortran else "C")


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> _Array:
    return _Array()


def _from_buffer(data: Any, dtype: _DType, shape: tuple[int, ...], order: str) -> _Array:
    made = _Array()
    made.array = _from_bytes(data, dtype, shape, order)
    return made


def _from_bytes(data: Any, dtype: _DType, shape: tuple[int, ...], order: str) -> np.ndarray:
    if not isinstance(dtype, _DType):
        raise pickle.UnpicklingError(f"an array whose type is {dtype!r}")
    return np.frombuffer(bytes(memoryview(data)), dtype.dtype).reshape(shape, order=order).copy()


_NAMES = {
    "_reconstruct": (_reconstruct, ("numpy.core.multiarray", "numpy._core.multiarray")),
    "_frombuffer": (_from_buffer, ("numpy.core.numeric", "numpy._core.numeric")),
    "ndarray": (_Array, ("numpy",)),
    "dtype": (_DType, ("numpy",)),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        stand_in, modules = _NAMES.get(name, (None, ()))
        if module not in modules:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only numpy arrays and built-ins are read")
        return stand_in


def read_groundtruth(path: str | Path) -> dict[str, np.ndarray]:
    """The annotations of a pickled ``dict`` from track id to array, as the MAEST code base keeps them.

    Files written by numpy 1 and 2, pickle protocols 3 to 5, are read.

    Returns:
        For every track its array (there: one truth value a class), in the file's order.

    Raises:
        StoreError: the file is missing, not such a pickle, or asks for anything but arrays and built-ins.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = _Unpickler(file).load()
    except OSError as error:
        raise StoreError(f"ground truth {path}: {error.strerror}; give a pickled dict of arrays") from error
    except Exception as error:  # a damaged pickle can raise almost anything
        raise StoreError(f"ground truth {path} was not read: {error}; give a pickled dict of arrays") from error
    if not isinstance(content, dict):
        raise StoreError(f"ground truth {path} holds a {type(content).__name__}; a dict of arrays is expected")
    return {_text(path, key): _array(path, key, value) for key, value in content.items()}


def _text(path: Path, key: object) -> str:
    if not isinstance(key, str):
        raise StoreError(f"ground truth {path}: the key {key!r} is not a text; track ids are expected")
    return key


def _array(path: Path, key: str, value: object) -> np.ndarray:
    if not isinstance(value, _Array) or value.array is None:
        raise StoreError(f"ground truth {path}: {key!r} is a {type(value).__name__}; a numpy array is expected")
    return value.array
