"""The annotated tracks of a task by split, and smaller training splits: so many of every class, or a share of all.

The choice of a few-shot subset is a function of the seed and the tracks' names: neither the order of the tracks nor the
encoder changes it. Subsets of a seed are nested, so that curves over their sizes compare like with like. Clips of a
song stay together.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from datasets.corpus import SPLITS, Corpus
from datasets.examples import Examples
from datasets.store import Store
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.inference.extraction import made_of_other
from experiments.messages import say
from experiments.probes.vectors import Split
from experiments.tasks.base import Task
from experiments.tracks.data import DataSource
from experiments.tracks.strata import membership

if TYPE_CHECKING:
    from experiments.probes.representations import Representation


@dataclass(frozen=True)
class LabelledTracks:
    """The annotated tracks of a task by split: stored ids, targets, and songs where tracks are clips of songs."""

    ids: Mapping[str, list[str]]
    targets: Mapping[str, np.ndarray]
    groups: Mapping[str, tuple[str, ...]] | None

    @classmethod
    def of(cls, found: Mapping[str, Examples], corpus: Corpus) -> LabelledTracks:
        """Those of encoded examples; where some are clips of songs, the others are songs of one clip."""
        ids = {split: list(one.stored) for split, one in found.items()}
        targets = {split: one.targets for split, one in found.items()}
        songs = {track.id: str(track.annotations["group"]) for track in corpus if "group" in track.annotations}
        groups = {split: tuple(songs.get(track, track) for track in one.ids) for split, one in found.items()}
        clips = any(track in songs for one in found.values() for track in one.ids)
        return cls(ids, targets, groups if clips else None)

    def names(self, split: str) -> Sequence[str]:
        """What counts as one: songs, or tracks that are no clips."""
        return self.groups[split] if self.groups else self.ids[split]

    def split(self, split: str, x: np.ndarray | None = None, shown: Representation | None = None) -> Split:
        """A split with its vectors `[tracks, values]` and what they are; where no vectors are needed, one zero each."""
        ids, groups = self.ids[split], self.groups[split] if self.groups else None
        if x is None or shown is None:
            return Split(np.zeros((len(ids), 1), np.float32), self.targets[split], ids, groups=groups)
        return Split(x, self.targets[split], ids, features=shown.origin, groups=groups, layers=len(shown.stores))


def few_shot_subset(
    task: Task, train: Split, shots: int | None = None, share: float | None = None, seed: int = 0
) -> Split:
    """The rows of a training split that `few_shot_rows` keeps; the whole split where neither number is given."""
    if shots is None and share is None:
        return train
    rows = few_shot_rows(task, train.y, train.groups or train.ids, shots, share, seed)
    groups = None if train.groups is None else tuple(train.groups[row] for row in rows)
    return replace(train, x=train.x[rows], y=train.y[rows], ids=[train.ids[row] for row in rows], groups=groups)


def few_shot_rows(
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
        names: Of the tracks; those of one name, the clips of a song, stay together and count once.
        shots: So many names of every class, or all where it has fewer. A name of several tags counts for each of them,
            so that common tags have more.
        share: This share of the names, rounded up, of every class alike; and one name of a class without any.
        seed: Of the choice.

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


def underrepresented(task: Task, targets: np.ndarray, names: Sequence[str], shots: int) -> dict[str, int]:
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


def warn_of_missing_classes(task: Task, tracks: LabelledTracks) -> None:
    """Warn of classes that a split lacks: they cannot be learned, or do not count there."""
    if task.kind != "tags" and not np.issubdtype(tracks.targets["train"].dtype, np.integer):
        return
    present = {}
    for split in SPLITS:
        y = tracks.targets[split]
        present[split] = set(np.flatnonzero(y.any(axis=0)) if task.kind == "tags" else np.unique(y).tolist())
    for split in SPLITS:
        if split == "train" and "classes" in task.options:  # classes that come from the labels: warned of before
            continue
        if lacking := [task.classes[number] for number in sorted(set().union(*present.values()) - present[split])]:
            what = "which cannot be learned" if split == "train" else "not counted there"
            have = pluralize(len(lacking), "class has", "classes have")
            listed = ", ".join(lacking[:4]) + ", ..." * (len(lacking) > 4)
            say(f"{task.name}: {have} no track in split {split}, {what}: {listed}")


def warn_of_underrepresented_classes(task: Task, tracks: LabelledTracks, shots: int | None) -> None:
    """Warn of classes that have fewer training tracks, or songs, than are asked for."""
    found = underrepresented(task, tracks.targets["train"], tracks.names("train"), shots) if shots else {}
    if found:
        listed = ", ".join(f"{kind} {count}" for kind, count in list(found.items())[:4]) + ", ..." * (len(found) > 4)
        have = pluralize(len(found), "class has", "classes have")
        say(f"{task.name}: {have} fewer than probe.shots={shots} in train, all of which count: {listed}")


def warn_of_other_audio(compared: Iterable[Representation], source: DataSource) -> None:
    """Warn of stores of embeddings that were not made from these features, though tracks have the same names."""
    stores = {store.path: store for row in compared for store in row.stores if isinstance(store, Store)}
    for store in stores.values():
        if store.header.kind == "embeddings" and (other := made_of_other(store, source.features, source.features.ids)):
            say(
                f"{store.path}: {pluralize(len(other), 'track was', 'tracks were')} not made from the audio of that "
                f"name in {source.base_dir}, {other[0]} for instance; is datamodule.base_dir right?"
            )
