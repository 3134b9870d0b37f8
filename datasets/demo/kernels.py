"""The loops of the renderer that arrays alone are too slow for, compiled when they are first needed.

Nothing is contracted or reordered, so that they give the very bytes that arrays would. Every process compiles them for
itself, which takes about a second: numba's cache on disk is not safe with several processes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

_ONE, _TWO, _THREE, _FOUR, _FIVE, _HALF = (np.float32(value) for value in (1, 2, 3, 4, 5, 0.5))


def between(sound: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of a sound, one sample padded before it, between its samples: cubic Hermite interpolation.

    Args:
        sound: float32 `[samples]`, four of them behind the last place.
        places: Samples, float64 `[values]`, none below 0.

    Returns:
        float32 `[values]`.
    """
    if len(places) and not 0 <= places.min() <= places.max() < len(sound) - 3:
        raise ValueError(f"places up to {places.max()} in a sound of {len(sound)} samples")
    return _compiled(_between, "float32[::1](float32[::1], float64[::1])")(sound, places)


def followed(sound: np.ndarray, attack: float, release: float) -> np.ndarray:
    """The level of a sound, float32 `[samples]`: it rises as `attack` says and falls as `release` does.

    Args:
        sound: float32 `[samples]`, none below 0.
        attack, release: Parts of the level that one sample leaves of the one before.
    """
    return _compiled(_followed, "float32[::1](float32[::1], float32, float32)")(sound, attack, release)


@lru_cache(maxsize=8)
def _compiled(function: Callable, signature: str) -> Callable:
    import numba

    return numba.njit(signature, nogil=True)(function)


def _between(sound, places):
    values = np.empty(len(places), np.float32)
    for number in range(len(places)):
        whole = np.int64(places[number])
        part = np.float32(places[number] - whole)
        before, at, after, last = sound[whole], sound[whole + 1], sound[whole + 2], sound[whole + 3]
        curve = _TWO * before - _FIVE * at + _FOUR * after - last + part * (_THREE * (at - after) + last - before)
        values[number] = at + _HALF * part * (after - before + part * curve)
    return values


def _followed(sound, attack, release):
    level = np.empty_like(sound)
    last = np.float32(0)
    for number in range(len(sound)):
        weight = attack if sound[number] > last else release
        last = weight * last + (_ONE - weight) * sound[number]
        level[number] = last
    return level
