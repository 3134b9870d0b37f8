"""Tracks of every split with encoded annotations."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.corpus import Corpus, CorpusError, Track
from experiments.errors import UserError
from experiments.tasks import build
from experiments.tracks.examples import Examples, examples, need, songs_apart


def songs(*rows):
    """Tracks of (id, split, annotations)."""
    return Corpus("songs", tuple(Track(*row) for row in rows))


def test_a_label_the_network_does_not_know_is_named_with_its_track():
    given = songs(("a", "test", {"tags": ("loud",)}))
    with pytest.raises(UserError, match=r"a \(test\): unknown tag 'loud'"):
        examples(build("tagging", classes=["slow"]), given, {"a": "a"})


def test_tracks_without_the_annotation_are_left_out():
    given = songs(("a", "train", {"tags": ("slow",)}), ("b", "train", {}), ("c", "test", {"tags": ()}))
    made = examples(build("tagging", classes=["slow"]), given, {name: f"{name}.ogg" for name in "abc"})
    assert {split: of.stored for split, of in made.items()} == {"train": ("a.ogg",), "valid": (), "test": ("c.ogg",)}


def test_a_training_split_without_a_tag_is_refused():
    untagged = Examples(("a",), ("a",), np.zeros((1, 3), np.float32))
    need({"valid": untagged}, "valid")
    with pytest.raises(CorpusError, match="none of 1 training tracks has a tag"):
        need({"train": untagged}, "train")


def test_a_song_with_clips_in_two_splits_is_refused():
    rows = [("a", "train", {"genre": "x", "group": "s"}), ("b", "test", {"genre": "y", "group": "t"})]
    task, stored = build("genre", classes=["x", "y"]), {name: name for name in "abc"}
    apart, torn = songs(*rows), songs(*rows, ("c", "test", {"genre": "x", "group": "s"}))
    songs_apart(examples(task, apart, stored), apart)
    with pytest.raises(CorpusError, match=r"'s' \(column group\) has clips in train and in test"):
        songs_apart(examples(task, torn, stored), torn)
