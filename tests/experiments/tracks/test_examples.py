"""Tracks of every split with encoded annotations."""

from __future__ import annotations

import pytest

from datasets.corpus import Corpus, CorpusError, Track
from datasets.examples import check_no_group_leakage
from experiments.errors import UserError
from experiments.tasks import build
from experiments.tracks.examples import examples


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


def test_a_song_with_clips_in_two_splits_is_refused():
    rows = [("a", "train", {"genre": "x", "group": "s"}), ("b", "test", {"genre": "y", "group": "t"})]
    task, stored = build("genre", classes=["x", "y"]), {name: name for name in "abc"}
    apart, torn = songs(*rows), songs(*rows, ("c", "test", {"genre": "x", "group": "s"}))
    check_no_group_leakage(examples(task, apart, stored), apart)
    with pytest.raises(CorpusError, match=r"'s' \(column group\) has clips in train and in test"):
        check_no_group_leakage(examples(task, torn, stored), torn)


def test_keys_of_which_none_can_be_read_are_not_to_be_left_out_but_another_task_asked_for():
    given = songs(*((name, "train", {"key": name, "genre": "x"}) for name in "123"))
    with pytest.raises(UserError, match=r"none of 3 tracks with key .*'1' is none of the 24.*probe\.tasks=\[genre\]"):
        examples(build("key"), given, {name: name for name in "123"})
    one = Corpus("songs", (*given.tracks, Track("4", "train", {"key": "Am"})))
    with pytest.raises(UserError, match=r"1 \(train\): key '1' is none .*datamodule\.unknown_labels=drop"):
        examples(build("key"), one, {name: name for name in "1234"})
