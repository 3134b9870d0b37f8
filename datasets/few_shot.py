"""Smaller training splits: so many tracks of every class, or a share of all.

The choice is a function of the seed and the tracks' names: the order of the tracks does not change it. Subsets of a
seed are nested, so that curves over their sizes compare like with like. Clips of a song stay together.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np


def few_shot_rows(
    member: np.ndarray,
    names: Sequence[str],
    shots: int | None = None,
    share: float | None = None,
    seed: int = 0,
    tags: bool = False,
) -> np.ndarray:
    """Choose tracks to train on.

    Args:
        member: Which tracks are of which class, booleans `[tracks, classes]`.
        names: Of the tracks; those of one name, the clips of a song, stay together and count once.
        shots: So many names of every class, or all where it has fewer. A name of several classes counts for each of
            them, so that common ones have more.
        share: This share of the names, rounded up, of every class alike; and one name of a class without any.
        seed: Of the choice.
        tags: A track has several classes, so that no order has every class alike: a share is one of all names.

    Returns:
        int64 `[kept]`, numbers of rows, ascending. A larger `shots`, or a larger `share`, keeps all of them.

    Raises:
        ValueError: Not one of `shots` and `share` is given, or it is out of range.
    """
    if (shots is None) == (share is None):
        raise ValueError(f"shots={shots} and share={share}: give one of them")
    if shots is not None and shots < 1:
        raise ValueError(f"shots={shots}: expected 1 or more")
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"share={share}: expected more than 0 and at most 1")
    ordered, row_of = _ordered(member, names, seed)
    ranks = ordered.cumsum(axis=0)
    if shots is not None:
        kept = (ordered & (ranks <= shots)).any(axis=1)
    else:
        kept = (ordered & (ranks == 1)).any(axis=1)
        order = np.arange(len(ordered)) if tags else _evenly(ordered, ranks)
        kept[order[: math.ceil(share * len(ordered) - 1e-9)]] = True
    return np.flatnonzero(kept[row_of])


def names_per_class(member: np.ndarray, names: Sequence[str]) -> list[int]:
    """How many names, tracks or songs, every class has; arguments as in `few_shot_rows`."""
    return _ordered(member, names, 0)[0].sum(axis=0).tolist()


def _ordered(member: np.ndarray, names: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which classes each name has, `[names, classes]`, in the order of the seed, and each row's place in it."""
    ordered = sorted(set(names), key=lambda name: (hashlib.blake2b(f"{seed} {name}".encode()).digest(), name))
    place = {name: number for number, name in enumerate(ordered)}
    row_of = np.array([place[name] for name in names], dtype=np.int64)
    of_names = np.zeros((len(ordered), member.shape[1]), dtype=bool)
    np.logical_or.at(of_names, row_of, member)
    return of_names, row_of


def _evenly(member: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Places in an order of which every start has its share of every class."""
    progress = np.where(member, (ranks - 0.5) / np.maximum(ranks[-1], 1), np.inf).min(axis=1)
    return np.argsort(progress, kind="stable")
