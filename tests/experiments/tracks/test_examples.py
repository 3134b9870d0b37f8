"""Tracks of every split with encoded annotations."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.corpus import Corpus, CorpusError, Track
from experiments.errors import UserError
from experiments.tasks import build
from experiments.tracks.examples import Examples, check_no_group_leakage, examples, require_nonempty


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
    require_nonempty({"valid": untagged}, "valid")
    with pytest.raises(CorpusError, match="none of 1 training tracks has a tag"):
        require_nonempty({"train": untagged}, "train")


def test_a_song_with_clips_in_two_splits_is_refused():
    rows = [("a", "train", {"genre": "x", "group": "s"}), ("b", "test", {"genre": "y", "group": "t"})]
    task, stored = build("genre", classes=["x", "y"]), {name: name for name in "abc"}
    apart, torn = songs(*rows), songs(*rows, ("c", "test", {"genre": "x", "group": "s"}))
    check_no_group_leakage(examples(task, apart, stored), apart)
    with pytest.raises(CorpusError, match=r"'s' \(column group\) has clips in train and in test"):
        check_no_group_leakage(examples(task, torn, stored), torn)


def sized(train, valid, test, kinds=2):
    """Splits of one label a track, of so many tracks."""
    sizes = {"train": train, "valid": valid, "test": test}
    ids = {split: tuple(f"{split}{n}" for n in range(size)) for split, size in sizes.items()}
    return {split: Examples(own, own, np.arange(len(own)) % kinds, "class") for split, own in ids.items()}


@pytest.mark.parametrize(
    ("splits", "remedy"),
    [
        (sized(30, 0, 4), "or split the tracks again: datamodule.splits=stratified"),
        (sized(60, 0, 0, kinds=60), "or split the tracks again: datamodule.splits=hashed"),
        (sized(2, 0, 0), "; 2 tracks are too few to be split"),
        (sized(0, 0, 0), "; 0 tracks are too few to be split"),
    ],
)
def test_a_rule_is_proposed_for_empty_splits_only_where_it_fills_them(splits, remedy):
    with pytest.raises(CorpusError, match=f"no tracks in split .*fill the column split of the table.*{remedy}"):
        require_nonempty(splits, "train", "valid", "test")


def test_keys_of_which_none_can_be_read_are_not_to_be_left_out_but_another_task_asked_for():
    given = songs(*((name, "train", {"key": name, "genre": "x"}) for name in "123"))
    with pytest.raises(UserError, match=r"none of 3 tracks with key .*'1' is none of the 24.*probe\.tasks=\[genre\]"):
        examples(build("key"), given, {name: name for name in "123"})
    one = Corpus("songs", (*given.tracks, Track("4", "train", {"key": "Am"})))
    with pytest.raises(UserError, match=r"1 \(train\): key '1' is none .*datamodule\.unknown_labels=drop"):
        examples(build("key"), one, {name: name for name in "1234"})
