"""Splits that can be trained and tested on, and what is said of others."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.corpus import CorpusError
from datasets.examples import Examples, require_nonempty


def test_a_training_split_without_a_tag_is_refused():
    untagged = Examples(("a",), ("a",), np.zeros((1, 3), np.float32))
    require_nonempty({"valid": untagged}, "valid")
    with pytest.raises(CorpusError, match="none of 1 training tracks has a tag"):
        require_nonempty({"train": untagged}, "train")


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


def test_some_tracks_keep_their_targets_and_corpora():
    tracks = Examples(("a", "b", "c"), ("A", "B", "C"), np.arange(3), "class", ("one", "two", "one"))
    some = tracks.some([2, 1])
    assert (some.ids, some.stored, some.kind) == (("c", "b"), ("C", "B"), "class")
    assert some.targets.tolist() == [2, 1]
    assert some.corpora == ("one", "two")
