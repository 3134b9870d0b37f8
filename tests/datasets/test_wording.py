"""Counts as people say them."""

from __future__ import annotations

import pytest

from datasets.wording import counted_noun


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("track",), "0 tracks"),
        (1, ("track",), "1 track"),
        (1, ("class",), "1 class"),
        (2, ("class",), "2 classes"),
        (18_706, ("track is", "tracks are"), "18,706 tracks are"),
        (1, ("track is", "tracks are"), "1 track is"),
    ],
)
def test_a_noun_and_its_verb_agree_with_the_count(count, words, said):
    assert counted_noun(count, *words) == said
