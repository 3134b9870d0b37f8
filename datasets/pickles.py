"""Pickled ground truth, as the MAEST code base keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.pickle_arrays import PickleRefusal, load_arrays
from datasets.store_files import StoreError


def read_groundtruth(path: str | Path) -> dict[str, np.ndarray]:
    """The annotations of a pickled ``dict`` from track id to array, without running what a pickle can ask for.

    Files written by numpy 1 and 2, pickle protocols 2 to 5, are read.

    Returns:
        For every track its array (there: one truth value a class), in the file's order.

    Raises:
        StoreError: the file is missing, not such a pickle, or asks for anything but arrays by name.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return load_arrays(file, path.stat().st_size)
    except OSError as error:
        raise StoreError(f"ground truth {path}: {error.strerror}; give a pickled dict of arrays") from error
    except PickleRefusal as error:
        raise StoreError(f"ground truth {path} was not read: {error}; give a pickled dict of arrays") from error
