"""Kinds of tracks: classes as they are, values by what they are like; for reports on a corpus and for small subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from datasets.corpus import LABELS, Corpus
from experiments.errors import UserError
from experiments.tasks.base import Task, annotated


def membership(task: Task, targets: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which tracks are of which kind.

    Args:
        task: Whose targets they are.
        targets: Stacked, one row a track.

    Returns:
        Booleans `[tracks, kinds]`, and the names of the kinds: the classes, or where the task has `strata` those that
        occur, sorted.
    """
    if (strata := task.strata(targets)) is not None:
        names, numbers = np.unique(np.array(strata, dtype=np.str_), return_inverse=True)
        return np.eye(len(names), dtype=bool)[numbers.reshape(-1)], tuple(names.tolist())
    if np.issubdtype(targets.dtype, np.integer):
        return np.eye(task.n_outputs, dtype=bool)[targets], task.classes
    return targets > 0.5, task.classes


def label_of(task: Task) -> str:
    """The name under which `labelled` puts what a track is: that of the annotation where it has a vocabulary."""
    return task.annotations[0] if task.annotations[0] in LABELS else f"{task.name} class"


def labelled(task: Task, corpus: Corpus) -> Corpus:
    """Give the tracks of a task without a vocabulary labels, by kind, so that they can be counted as others are.

    Returns:
        The corpus with an annotation `label_of(task)`, which tracks whose annotation the task cannot read do not get.
    """
    if task.annotations[0] in LABELS:
        return corpus
    tracks = []
    for track in corpus:
        found = annotated(task.annotations, track.annotations)
        try:
            kinds = () if found is None else _kinds(task, np.stack([task.encode(found)]))
        except UserError:
            kinds = ()
        annotations = {**track.annotations, label_of(task): kinds} if kinds else track.annotations
        tracks.append(replace(track, annotations=annotations))
    return replace(corpus, tracks=tuple(tracks))


def _kinds(task: Task, targets: np.ndarray) -> Sequence[str]:
    member, names = membership(task, targets)
    return tuple(names[number] for number in np.flatnonzero(member[0]))
