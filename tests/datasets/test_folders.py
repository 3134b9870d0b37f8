"""Folders that are classes."""

from __future__ import annotations

import pytest

from datasets.folders import are_classes, read_folders
from datasets.tables import CorpusError


def test_folders_are_genres():
    corpus = read_folders(["rock/a.mp3", "jazz/live/b.mp3", "jazz/c.mp3", "d.mp3"], "music")
    assert {track.id: track.annotations.get("genre") for track in corpus} == {
        "rock/a.mp3": "rock",
        "jazz/live/b.mp3": "jazz",
        "jazz/c.mp3": "jazz",
        "d.mp3": None,
    }
    assert corpus.notes == (
        "music: its 2 folders are taken for genres: jazz 2, rock 1",
        "music: 1 track lies in none of the folders, without a genre",
    )
    with pytest.raises(CorpusError, match="1 folder with audio directly below it"):
        read_folders(["rock/a.mp3", "b.mp3"], "music")


def test_folders_of_splits_hold_folders_of_classes():
    corpus = read_folders(["train/rock/a.mp3", "Val/rock/b.mp3", "test/jazz/c.mp3"], "music")
    assert [(track.split, track.annotations["genre"]) for track in corpus] == [
        ("valid", "rock"),
        ("test", "jazz"),
        ("train", "rock"),
    ]
    assert corpus.split_by == "given"
    held_out = read_folders(["test/rock/b.mp3", "valid/jazz/a.mp3"], "music")
    assert [(track.split, track.annotations["genre"]) for track in held_out] == [("test", "rock"), ("valid", "jazz")]
    assert read_folders(["dev/a.mp3", "test/b.mp3"], "software").vocabulary("genre") == ("dev", "test")
    assert read_folders(["train/a.mp3", "bus/b.mp3"], "noises").vocabulary("genre") == ("bus", "train")


@pytest.mark.parametrize(
    ("ids", "classes"),
    [
        (["rock/a", "jazz/b"], True),
        (["train/rock/a", "test/jazz/a"], True),
        (["rock/a", "rock/b"], False),
        (["rock/a", "jazz/b", "c"], False),
        (["artist/album/a", "other/album/b"], False),
        (["train/a", "test/b"], False),
        (["a", "b"], False),
        ([], False),
    ],
)
def test_folders_are_taken_for_classes_only_where_they_can_be_nothing_else(ids, classes):
    assert are_classes(ids) is classes


def test_folders_of_the_system_are_no_classes():
    ids = ["rock/a.wav", "jazz/b.wav", "#recycle/rock/a.wav", "$RECYCLE.BIN/S-1/c.wav", "jazz/@eaDir/b.wav"]
    corpus = read_folders(ids, "music")
    assert [track.id for track in corpus] == ["jazz/b.wav", "rock/a.wav"]
    assert corpus.notes[-1] == "music: folders of the system are passed over: #recycle, $RECYCLE.BIN, jazz/@eaDir"
    assert are_classes(ids)


def test_folders_are_one_class_whatever_the_form_of_accents():
    corpus = read_folders(["caf\u00e9/a.wav", "cafe\u0301/b.wav", "rock/c.wav"], "music")
    assert corpus.vocabulary("genre") == ("caf\u00e9", "rock")
