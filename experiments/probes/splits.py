"""The annotated tracks of a task by split, few-shot subsets of them, and what to warn of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from datasets.corpus import SPLITS, Corpus
from datasets.examples import Examples
from datasets.few_shot import few_shot_rows, names_per_class
from datasets.store import Store
from datasets.text import pluralize
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

    def split(self, split: str, x: np.ndarray | None = None, representation: Representation | None = None) -> Split:
        """A split with its vectors `[tracks, values]` and what they are; where no vectors are needed, one zero each."""
        ids, groups = self.ids[split], self.groups[split] if self.groups else None
        if x is None or representation is None:
            return Split(np.zeros((len(ids), 1), np.float32), self.targets[split], ids, groups=groups)
        return Split(x, self.targets[split], ids, representation.origin, groups, len(representation.stores))


def few_shot_subset(
    task: Task, train: Split, shots: int | None = None, share: float | None = None, seed: int = 0
) -> Split:
    """The rows of a training split that `few_shot_rows` keeps; the whole split where neither number is given.

    Where targets are neither classes nor tags, ranges of values stand for classes.
    """
    if shots is None and share is None:
        return train
    member, _ = membership(task, train.y)
    rows = few_shot_rows(member, train.groups or train.ids, shots, share, seed, tags=task.kind == "tags")
    groups = None if train.groups is None else tuple(train.groups[row] for row in rows)
    return replace(train, x=train.x[rows], y=train.y[rows], ids=[train.ids[row] for row in rows], groups=groups)


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
    """Warn of classes that have some training tracks, or songs, but fewer than are asked for."""
    if shots is None:
        return
    member, kinds = membership(task, tracks.targets["train"])
    counts = names_per_class(member, tracks.names("train"))
    if few := [f"{kind} {count}" for kind, count in zip(kinds, counts, strict=True) if 0 < count < shots]:
        have = pluralize(len(few), "class has", "classes have")
        listed = ", ".join(few[:4]) + ", ..." * (len(few) > 4)
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
