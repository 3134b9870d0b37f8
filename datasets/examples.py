"""The tracks of a split with their targets, and what splits must be like to train and test on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.corpus import SPLITS, Corpus, CorpusError
from datasets.splits import hashed, stratified
from datasets.targets import ClipTargets, Targets
from datasets.text import pluralize


@dataclass(frozen=True)
class Examples:
    """The tracks of one split that have both audio and an annotation.

    Attributes:
        ids: Labelled ids.
        stored: The same tracks' ids in the store.
        crops: What crops of them are trained against; an array holds one target a track.
        kind: What a target is: `class`, `tags`, `values` or `events`.
        corpora: Which corpus each is of, where a table of several says it; else empty.
    """

    ids: tuple[str, ...]
    stored: tuple[str, ...]
    crops: Targets
    kind: str = "tags"
    corpora: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.crops, np.ndarray):
            object.__setattr__(self, "crops", ClipTargets(self.crops))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def clip_level(self) -> bool:
        """Whether every track has one target."""
        return isinstance(self.crops, ClipTargets)

    @property
    def targets(self) -> np.ndarray:
        """The one target of every track, `[tracks, ...]`.

        Raises:
            CorpusError: Targets change within a track.
        """
        if not self.clip_level:
            raise CorpusError("the targets of this task change within a track; here one target a track is needed")
        return self.crops.array

    def some(self, rows: Sequence[int]) -> Examples:
        """The tracks of some rows, in their order.

        Raises:
            CorpusError: Targets change within a track.
        """
        ids, stored = (tuple(names[row] for row in rows) for names in (self.ids, self.stored))
        corpora = tuple(self.corpora[row] for row in rows) if self.corpora else ()
        return Examples(ids, stored, self.targets[list(rows)], self.kind, corpora)


def check_no_group_leakage(splits: Mapping[str, Examples], corpus: Corpus) -> None:
    """Refuse splits that share a song: a test on other clips of what was trained on is none.

    Args:
        splits: Of one task.
        corpus: Whose tracks they are; those with an annotation `group` are clips of a song.

    Raises:
        CorpusError: A song has clips in two splits.
    """
    song_of = {track.id: track.annotations["group"] for track in corpus if "group" in track.annotations}
    first: dict[str, str] = {}
    for split, one in splits.items():
        for song in {song_of[identity] for identity in one.ids if identity in song_of}:
            if first.setdefault(song, split) != split:
                raise CorpusError(
                    f"{song!r} (column group) has clips in {first[song]} and in {split}; give all clips of a song one "
                    f"split, or have them split again: datamodule.splits=stratified"
                )


def require_nonempty(splits: Mapping[str, Examples], *names: str) -> None:
    """Refuse empty splits, and a training split that shows no class.

    Raises:
        CorpusError: A named split has no track with audio and annotation, or no training track has a tag.
    """
    empty = [name for name in names if not len(splits[name])]
    if empty:
        sizes = ", ".join(f"{name} {len(split)}" for name, split in splits.items())
        raise CorpusError(
            f"no tracks in split {' and '.join(empty)} ({sizes}); fill the column split of the table{_remedy(splits)}"
        )
    train = splits["train"] if "train" in names else None
    if train and train.kind == "tags" and train.clip_level and not train.targets.any():
        raise CorpusError(f"none of {len(train)} training tracks has a tag; give some a tag or another split")


def _remedy(splits: Mapping[str, Examples]) -> str:
    """How tracks can be split so that no split is empty, as the end of a sentence."""
    labels = {}
    for one in splits.values():
        targets = one.targets if one.clip_level else [()] * len(one)
        for identity, target in zip(one.ids, targets, strict=True):
            kinds = np.flatnonzero(target) if one.kind == "tags" else [target] if one.kind == "class" else []
            labels[identity] = tuple(str(kind) for kind in kinds)
    for rule, split in (("stratified", stratified), ("hashed", hashed)):
        if len(set(split(labels).values())) == len(SPLITS):
            return f", or split the tracks again: datamodule.splits={rule}"
    return f"; {pluralize(len(labels), 'track is', 'tracks are')} too few to be split"
