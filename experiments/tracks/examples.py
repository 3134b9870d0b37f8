"""The tracks of every split with their annotations encoded, as training, tests and probes take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from datasets import splits as dealing
from datasets.corpus import LABELS, SPLITS, Corpus, CorpusError, Track
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.tasks.base import Task, annotated
from experiments.tracks.readable import any_readable, none_readable


@dataclass(frozen=True)
class Examples:
    """The tracks of one split that have both audio and an annotation.

    Attributes:
        ids: Labelled ids.
        stored: The same tracks' ids in the store.
        targets: Encoded annotations, one row a track.
        kind: What a target is, as `Task.kind`.
    """

    ids: tuple[str, ...]
    stored: tuple[str, ...]
    targets: np.ndarray
    kind: str = "tags"

    def __len__(self) -> int:
        return len(self.ids)


def examples(task: Task, corpus: Corpus, stored: Mapping[str, str]) -> dict[str, Examples]:
    """Encode the annotations of every split; tracks without one are left out.

    Args:
        task: Encodes annotations.
        corpus: Tracks and splits, all of them stored.
        stored: Their ids in the store.

    Raises:
        UserError: A label that is not among the task's classes, or an annotation that cannot be read.
    """
    made = {}
    for split in SPLITS:
        tracks = [track for track in corpus.split(split) if annotated(task.annotations, track.annotations) is not None]
        targets = [_encode(task, track, corpus) for track in tracks]
        made[split] = Examples(
            tuple(track.id for track in tracks),
            tuple(stored[track.id] for track in tracks),
            np.stack(targets) if targets else np.empty((0, task.n_outputs), np.float32),
            task.kind,
        )
    return made


def _encode(task: Task, track: Track, corpus: Corpus) -> np.ndarray:
    try:
        return task.encode(annotated(task.annotations, track.annotations))
    except UserError as error:
        if task.annotations[0] not in LABELS and not any_readable(task, corpus):
            raise none_readable(task, corpus) from None
        whose = "The classes are those of the network or of datamodule.labels: " * ("classes" in task.options)
        raise UserError(
            f"{track.id} ({track.split}): {error}. {whose}leave such labels out (datamodule.unknown_labels=drop)"
            + ", or train with them" * bool(whose)
        ) from None


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
                    f"split, or have them dealt out: datamodule.splits=stratified"
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
            f"no tracks in split {' and '.join(empty)} ({sizes}); fill the column split of the table{_dealt(splits)}"
        )
    if "train" in names and splits["train"].kind == "tags" and not splits["train"].targets.any():
        raise CorpusError(f"none of {len(splits['train'])} training tracks has a tag; give some a tag or another split")


def _dealt(splits: Mapping[str, Examples]) -> str:
    """How the tracks of empty splits can be dealt out so that none is empty, as the end of a sentence."""
    labels = {}
    for one in splits.values():
        for identity, target in zip(one.ids, one.targets, strict=True):
            kinds = np.flatnonzero(target) if one.kind == "tags" else [target] if one.kind == "class" else []
            labels[identity] = tuple(str(kind) for kind in kinds)
    for rule, deal in (("stratified", dealing.stratified), ("hashed", dealing.hashed)):
        if len(set(deal(labels).values())) == len(SPLITS):
            return f", or have tracks dealt out: datamodule.splits={rule}"
    return f"; {pluralize(len(labels), 'track is', 'tracks are')} too few to be dealt out"
