"""Labels of tracks that are trained on without them: what a linear probe needs, where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from datasets.corpus import Corpus
from datasets.examples import Examples, require_nonempty
from datasets.matching import match_tracks
from datasets.store import Reader
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tasks import Task
from experiments.tracks import annotations
from experiments.tracks.data import prepare_task
from experiments.tracks.examples import examples


def labelled_examples(
    settings: DatamoduleSettings, base: Path, features: Reader, splits: Mapping[str, Examples], most: int
) -> tuple[Task, dict[str, Examples]]:
    """The task that the settings, or the annotations, are about, and the annotated tracks of training and validation.

    The splits are those of the training without labels; labels have no say in them. Nothing is printed.

    Args:
        settings: Where annotations are.
        base: Folder of the audio, or of the store.
        features: Of the tracks.
        splits: `train` and `valid` of the training.
        most: Tracks of a split; of more, the same ones are drawn every time.

    Raises:
        UserError: The annotations do not fit, or the task is one over time.
        CorpusError: They cannot be read, or are of other tracks, or a split has none.
    """
    corpus = annotations.from_files(settings, base) or annotations.from_folders(settings, base, features.ids)
    stored = match_tracks([track.id for track in corpus], list(features.ids)).stored
    corpus, task = prepare_task(settings, _split_as(corpus, stored, splits))
    if not task.clip_level:
        raise UserError(f"{task.name} is a task over time, and a probe sees one vector a track")
    chosen = {name: _some(one, most) for name, one in examples(task, corpus, stored).items() if name in splits}
    require_nonempty(chosen, "train", "valid")
    return task, chosen


def _split_as(corpus: Corpus, stored: Mapping[str, str], splits: Mapping[str, Examples]) -> Corpus:
    """The stored tracks of a corpus in the splits that they are trained in, without those of its test."""
    split_of = {identity: name for name in ("train", "valid") for identity in splits[name].stored}
    tracks = [replace(track, split=split_of[stored[track.id]]) for track in corpus if stored.get(track.id) in split_of]
    return replace(corpus, tracks=tuple(tracks))


def _some(tracks: Examples, most: int) -> Examples:
    if len(tracks) <= most:
        return tracks
    return tracks.some(np.sort(np.random.default_rng(0).permutation(len(tracks))[:most]))
