"""What a corpus audit counts, and what it finds."""

from __future__ import annotations

from datasets.corpus import Corpus, Track
from datasets.corpus_audit import Case, artist_finding, audio_findings, label_findings, label_rows

SONGS = Corpus(
    "songs",
    (
        Track("a", "train", {"tags": ("rock", "slow"), "artist": "Ella"}),
        Track("b", "train", {"tags": ("rock", "slow", "live"), "artist": "Duke"}),
        Track("c", "test", {"tags": ("rock", "live"), "artist": "ella"}),
        Track("d", "test", {"tags": ("solo",)}),
        Track("e", "valid", {"tags": (), "artist": "Max"}),
        Track("f", "train", {}),
    ),
)
SECONDS = dict.fromkeys("abcdef", 1800.0)


def test_labels_are_counted_by_split_with_hours_and_partners():
    rows = label_rows(SONGS, "tags", SECONDS)
    assert [(row.label, row.train, row.valid, row.test, row.tracks, row.hours) for row in rows] == [
        ("rock", 2, 0, 1, 3, 1.5),
        ("live", 1, 0, 1, 2, 1.0),
        ("slow", 2, 0, 0, 2, 1.0),
        ("solo", 0, 0, 1, 1, 0.5),
    ]
    assert [(row.often_with, row.together) for row in rows] == [("live", 2), ("rock", 2), ("rock", 2), ("", 0)]


def test_labels_that_a_split_lacks():
    train, valid, test = label_findings(label_rows(SONGS, "tags", SECONDS), "tags")
    assert (train.said, train.cases, train.grave) == (
        "1 of 4 labels (tags) without a track in train: cannot be learned",
        (Case("solo"),),
        True,
    )
    assert len(valid.cases) == 4
    assert test.cases == (Case("slow"),)


def test_artists_on_several_sides_however_they_are_spelled():
    found = artist_finding(SONGS, "; do this")
    assert found.said == "1 of 3 artists has tracks in several splits; do this"
    assert [str(case) for case in found.cases] == ["Ella (train 1, test 1)"]


def test_the_same_audio_across_splits_with_other_labels_and_merely_twice():
    across, disputed, twice = audio_findings(SONGS, [("c", "a"), ("b", "f"), ("d", "e")], ["tags", "genre"])
    assert [str(case) for case in across.cases] == ["c (test) = a (train)", "d (test) = e (valid)"]
    assert across.grave
    assert [case.track for case in disputed.cases] == ["c", "d"]
    assert [str(case) for case in twice.cases] == ["f (train) = b (train)"]
