"""Fewer training tracks: so many of every class, or a share of all, chosen by a seed.

The choice is a function of the seed and the tracks' names: neither the order of the tracks nor the encoder changes it.
Subsets of a seed are nested, so that curves over their sizes compare like with like. Clips of a song stay together.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from experiments.errors import UserError
from experiments.probes.vectors import Split
from experiments.tasks.base import Task
from experiments.tracks.strata import membership


def fewer(task: Task, train: Split, shots: int | None = None, share: float | None = None, seed: int = 0) -> Split:
    """The part of a training split that `chosen` keeps; the whole where neither number is given.

    Raises:
        UserError: As in `chosen`.
    """
    if shots is None and share is None:
        return train
    rows = chosen(task, train.y, train.groups or train.ids, shots, share, seed)
    groups = None if train.groups is None else tuple(train.groups[row] for row in rows)
    return replace(train, x=train.x[rows], y=train.y[rows], ids=[train.ids[row] for row in rows], groups=groups)


def chosen(
    task: Task,
    targets: np.ndarray,
    names: Sequence[str],
    shots: int | None = None,
    share: float | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Choose tracks to train on.

    Args:
        task: Whose targets they are. Where those are neither classes nor tags, ranges of values stand for classes.
        targets: Stacked, one row a track.
        names: Of the tracks; those of one name, the clips of a song, are kept or left out together and count once.
        shots: So many names of every class, or all where it has fewer. A name of several tags counts for each of them,
            so that common tags have more.
        share: This share of the names, rounded up, of every class alike; and one name of a class without any.
        seed: Of the draw.

    Returns:
        int64 `[kept]`, numbers of rows, ascending. A larger `shots`, or a larger `share`, keeps all of them.

    Raises:
        UserError: Not one of `shots` and `share` is given, or it is out of range.
    """
    if (shots is None) == (share is None):
        raise UserError(f"shots={shots} and share={share}: give one of them")
    if shots is not None and shots < 1:
        raise UserError(f"shots={shots}: expected 1 or more")
    if share is not None and not 0 < share <= 1:
        raise UserError(f"share={share}: expected more than 0 and at most 1")
    ordered, member, row_of = _ordered(task, targets, names, seed)
    ranks = member.cumsum(axis=0)
    if shots is not None:
        kept = (member & (ranks <= shots)).any(axis=1)
    else:
        kept = (member & (ranks == 1)).any(axis=1)
        kept[_evenly(task, member, ranks)[: math.ceil(share * len(ordered) - 1e-9)]] = True
    return np.flatnonzero(kept[row_of])


def scarce(task: Task, targets: np.ndarray, names: Sequence[str], shots: int) -> dict[str, int]:
    """The classes that have fewer than `shots` names, but some, and how many they have."""
    _, member, _ = _ordered(task, targets, names, 0)
    _, kinds = membership(task, targets)
    counts = member.sum(axis=0).tolist()
    return {kind: count for kind, count in zip(kinds, counts, strict=True) if 0 < count < shots}


def _ordered(
    task: Task, targets: np.ndarray, names: Sequence[str], seed: int
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The names in the order of the seed, which classes they have, `[names, classes]`, and each row's place in it."""
    of_rows, _ = membership(task, targets)
    ordered = sorted(set(names), key=lambda name: (hashlib.blake2b(f"{seed} {name}".encode()).digest(), name))
    place = {name: number for number, name in enumerate(ordered)}
    row_of = np.array([place[name] for name in names], dtype=np.int64)
    member = np.zeros((len(ordered), of_rows.shape[1]), dtype=bool)
    np.logical_or.at(member, row_of, of_rows)
    return ordered, member, row_of


def _evenly(task: Task, member: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Places in an order of which every start has its share of every class; for tags the order as it is."""
    if task.kind == "tags":
        return np.arange(len(member))
    progress = np.where(member, (ranks - 0.5) / np.maximum(ranks[-1], 1), np.inf).min(axis=1)
    return np.argsort(progress, kind="stable")
