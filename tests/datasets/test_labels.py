"""Vocabularies: spellings that are one label, labels that are left out, and the account of both."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.corpus import Corpus, Track
from datasets.labels import Dropped, Merged, counted, drop_rare, folded, keep_known, merge_spellings


def corpus(*rows, annotation="tags"):
    """Tracks of (split, labels)."""
    tracks = (Track(f"{n}.ogg", split, {annotation: labels}) for n, (split, labels) in enumerate(rows))
    return Corpus("songs", tuple(tracks))


def labels_of(songs, annotation="tags"):
    return [track.annotations.get(annotation) for track in songs]


@pytest.mark.parametrize("other", ["ROCK", "Rock", "  rock", "ｒｏｃｋ"])
def test_spellings_of_one_label(other):
    assert folded(other) == folded("rock")
    assert folded("Hip  Hop") == folded("hip hop") != folded("hiphop")
    assert folded("Bläser") == folded(unicodedata.normalize("NFD", "BLÄSER"))


def test_the_commonest_spelling_stays_and_the_merge_is_told():
    songs = corpus(("train", ("Rock", "slow")), ("test", ("rock",)), ("train", ("rock", "ROCK")), ("train", ()))
    merged, told = merge_spellings(songs, "tags")
    assert labels_of(merged) == [("rock", "slow"), ("rock",), ("rock",), ()]
    assert told == (Merged("rock", ("ROCK", "Rock"), 2),)
    again, told = merge_spellings(merged, "tags")
    assert (again, told) == (merged, ())


def test_settled_spellings_win_and_are_never_merged_with_one_another():
    songs = corpus(("train", ("rock",)), ("train", ("JAZZ",)), ("train", ("Jazz",)))
    merged, told = merge_spellings(songs, "tags", known=("Rock", "JAZZ", "Jazz"))
    assert labels_of(merged) == [("Rock",), ("JAZZ",), ("Jazz",)]
    assert told == (Merged("Rock", ("rock",), 1),)


def test_a_genre_is_merged_too():
    merged, _ = merge_spellings(corpus(("train", "Rock"), ("test", "rock"), annotation="genre"), "genre")
    assert labels_of(merged, "genre") == ["Rock", "Rock"]


@given(st.lists(st.lists(st.text("aAbBß", min_size=1, max_size=2), unique=True, max_size=3), max_size=12))
def test_after_merging_no_two_labels_are_spellings_of_one_and_no_track_loses_all(sets):
    songs = corpus(*(("train", tuple(labels)) for labels in sets))
    merged, _ = merge_spellings(songs, "tags")
    left = counted(merged, "tags")
    assert len({folded(label) for label in left}) == len(left)
    for before, after in zip(labels_of(songs), labels_of(merged), strict=True):
        assert {folded(label) for label in before} == {folded(label) for label in after}


def test_labels_with_few_training_tracks_are_left_out_and_counted():
    songs = corpus(
        ("train", ("rock", "slow")), ("train", ("rock",)), ("test", ("slow", "kazoo")), ("train", ("kazoo",))
    )
    kept, dropped = drop_rare(songs, "tags", 2)
    assert labels_of(kept) == [("rock",), ("rock",), (), ()]
    assert dropped == (Dropped("kazoo", 1, 2), Dropped("slow", 1, 2))
    assert drop_rare(songs, "tags", 0) == (songs, ())


def test_a_track_whose_genre_is_left_out_is_not_annotated_any_more():
    songs = corpus(("train", "rock"), ("train", "kazoo"), annotation="genre")
    kept, dropped = keep_known(songs, "genre", ("rock", "jazz"))
    assert labels_of(kept, "genre") == ["rock", None]
    assert dropped == (Dropped("kazoo", 1, 1),)
