"""The loops of the synthesizer that arrays alone are too slow for, compiled; in the order that arrays would go.

No operation is contracted or reordered, so that the same input is the same bytes with and without compilation.
"""

from __future__ import annotations

import numba
import numpy as np

_TWO, _THREE, _FOUR, _FIVE, _HALF = (np.float32(value) for value in (2, 3, 4, 5, 0.5))


@numba.njit(cache=True, nogil=True)
def between(sound: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of a sound, one sample padded before it, between its samples: cubic Hermite interpolation.

    Args:
        sound: float32 `[samples]`, four of them behind the last place.
        places: Samples, float64 `[values]`, none below 0.

    Returns:
        float32 `[values]`.
    """
    values = np.empty(len(places), np.float32)
    for number in range(len(places)):
        whole = np.int64(places[number])
        part = np.float32(places[number] - whole)
        before, at, after, last = sound[whole], sound[whole + 1], sound[whole + 2], sound[whole + 3]
        curve = _TWO * before - _FIVE * at + _FOUR * after - last + part * (_THREE * (at - after) + last - before)
        values[number] = at + _HALF * part * (after - before + part * curve)
    return values
