"""From settings to annotated tracks: what is read, how it is split, which labels count."""

from __future__ import annotations

import pytest
import torch

from datasets.corpus import Corpus, CorpusError, Track
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tracks import annotations


def settings(**values):
    return DatamoduleSettings(base_dir="music", **values)


def songs(count=40, split_by="hashed", **more):
    """Tracks of ten genres, the first three of them spelled in two ways, by ten artists."""
    names = ["rock", "ROCK", "jazz", "Jazz", "mande", "Mande", "folk", "oud", "kora", "solo"]
    tracks = (
        Track(
            f"{n:02d}.ogg", ("train", "valid", "test", "train")[n % 4], {"genre": names[n % 10], "artist": f"a{n // 4}"}
        )
        for n in range(count)
    )
    return Corpus("songs", tuple(tracks), split_by, ("path", "genre", "artist"), **more)


def test_given_splits_stay_and_others_are_dealt_out_by_the_rule_that_is_asked_for():
    given = songs(split_by="given")
    assert [track.split for track in annotations.arrange(settings(), given)] == [track.split for track in given]
    for rule, split_by in (("stratified", "stratified by label, seed 3"), ("grouped", "grouped by artist, seed 3")):
        made = annotations.arrange(settings(splits=rule, split_seed=3), given)
        assert made.split_by == split_by
        assert made.notes[-1].startswith(f"splits {split_by}: ")
        assert made.notes[-1].endswith("not those that are given")
    artists = {split: {track.annotations["artist"] for track in made.split(split)} for split in ("train", "test")}
    assert artists["train"].isdisjoint(artists["test"])


def test_shares_are_kept_or_refused_where_nothing_is_dealt_out():
    made = annotations.arrange(settings(splits="stratified", split_shares=[0.5, 0.25, 0.25]), songs())
    assert [len(made.split(name)) for name in ("train", "valid", "test")] == pytest.approx([20, 10, 10], abs=2)
    with pytest.raises(UserError, match="has no effect: the splits are given by songs"):
        annotations.arrange(settings(split_shares=[0.5, 0.25, 0.25]), songs(split_by="given"))


def test_shares_of_labels_are_offered_to_tasks_about_labels_alone():
    offered = "datamodule.splits=stratified gives every label its share"
    assert offered in annotations.arrange(settings(), songs(split_by="assigned")).notes[-1]
    assert offered not in annotations.arrange(settings(task="beats"), songs(split_by="assigned")).notes[-1]


def test_spellings_are_brought_together_unless_that_is_not_wanted():
    merged = annotations.arrange(settings(), songs())
    assert merged.vocabulary("genre") == ("Jazz", "Mande", "ROCK", "folk", "kora", "oud", "solo")
    assert merged.notes[0].startswith("3 spellings of labels (genre) merged: 'jazz' -> 'Jazz', ")
    assert len(annotations.arrange(settings(merge_spellings=False), songs()).vocabulary("genre")) == 10


@pytest.mark.parametrize(
    ("present", "setting", "task"),
    [
        ({"genre": "rock"}, "auto", "genre"),
        ({"tags": ("rock",)}, "auto", "tagging"),
        ({"tags": (), "genre": "rock"}, "auto", "tagging"),
        ({"artist": "Oumou"}, "auto", "tagging"),
        ({"arousal": 3.0}, "auto", "tagging"),
        ({"arousal": 3.0, "valence": 2.0}, "auto", "emotion"),
        ({"tempo": 90.0}, "auto", "tempo"),
        ({"tempo": 90.0, "key": "Am"}, "auto", "key"),
        ({"genre": "rock"}, "tagging", "tagging"),
    ],
)
def test_the_task_is_what_the_annotations_are_for(present, setting, task):
    corpus = Corpus("songs", (Track("a", "train", present),))
    assert annotations.task_of(setting, corpus) == task


def tagged(*sets, split="train"):
    return Corpus("tagged", tuple(Track(str(n), split, {"tags": labels}) for n, labels in enumerate(sets)))


def test_rare_labels_are_left_out_of_a_table_and_of_a_list(tmp_path):
    corpus = tagged(("a", "b"), ("a", "c"), ("b",), ("d", "a"))
    kept, classes = annotations.choose_labels(settings(min_tracks=2), corpus, "tags")
    assert classes == ("a", "b")
    assert [track.annotations["tags"] for track in kept] == [("a", "b"), ("a",), ("b",), ("a",)]
    assert kept.notes == (
        "datamodule.min_tracks=2 leaves out 2 of 4 labels (tags): c (1 training tracks), d (1 training tracks)",
    )
    (tmp_path / "list.txt").write_text("z\nb\na\nc\nd\n")
    listed = settings(min_tracks=2, labels=str(tmp_path / "list.txt"))
    kept, classes = annotations.choose_labels(listed, corpus, "tags")
    assert classes == ("b", "a")
    assert "z (0 training tracks)" in kept.notes[0]
    with pytest.raises(UserError, match="leaves no label of tagged: the most common, 'a', has 3 training tracks"):
        annotations.choose_labels(settings(min_tracks=9), corpus, "tags")


def test_labels_that_nothing_can_be_learned_of_are_said():
    corpus = Corpus("c", (*tagged(("a",)).tracks, *tagged(("a", "b"), split="test").tracks))
    kept, classes = annotations.choose_labels(settings(), corpus, "tags")
    assert (len(kept), classes) == (2, ("a", "b"))
    assert kept.notes[0].startswith("1 of 2 labels (tags) have no training track and cannot be learned: b ")


def test_cells_that_were_not_parted_are_noticed():
    kept, _ = annotations.choose_labels(settings(), tagged(*((f"a/{n}",) for n in range(12))), "tags")
    assert "12 of 12 labels belong to a single track, such as 'a/0'" in kept.notes[0]


def test_labels_that_are_not_listed_are_dropped_where_that_is_wanted(tmp_path):
    (tmp_path / "list.txt").write_text("\ufeffb\n\na\n", encoding="utf-8")
    wanted = settings(labels=str(tmp_path / "list.txt"), unknown_labels="drop")
    kept, classes = annotations.choose_labels(wanted, tagged(("a", "x"), ("b",)), "tags")
    assert classes == ("b", "a")
    assert [track.annotations["tags"] for track in kept] == [("a",), ("b",)]
    fitted = annotations.conform(wanted, tagged(("A", "x"), ("b",)), "tags", ("a", "b"))
    assert [track.annotations["tags"] for track in fitted] == [("a",), ("b",)]
    refused = annotations.conform(settings(), tagged(("A", "x")), "tags", ("a", "b"))
    assert refused.tracks[0].annotations["tags"] == ("a", "x")


def test_class_names_of_files_and_checkpoints(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    state = {"state_dict": {"net.w": torch.zeros(1)}, "hyper_parameters": {"labels": ["b", "a"]}}
    torch.save(state, tmp_path / "checkpoints" / "best.ckpt")
    assert annotations.read_labels(str(tmp_path)) == ("b", "a")
    assert annotations.read_labels(str(tmp_path / "checkpoints" / "best.ckpt")) == ("b", "a")
    torch.save({"state_dict": {"net.w": torch.zeros(1)}}, tmp_path / "mute.ckpt")
    (tmp_path / "latin.txt").write_bytes("Bläser".encode("latin-1"))
    (tmp_path / "empty.txt").write_text("\n\n")
    for name, message in (
        ("mute.ckpt", "names no classes"),
        ("latin.txt", "not UTF-8"),
        ("empty.txt", "no class names"),
        ("gone.txt", "no such file"),
    ):
        with pytest.raises(ValueError, match=message):
            annotations.read_labels(str(tmp_path / name))


def test_folders_are_asked_for_or_can_be_nothing_else(tmp_path):
    assert annotations.from_folders(settings(), tmp_path, ["rock/a", "jazz/b"]).vocabulary("genre") == ("jazz", "rock")
    library = ["artist/album/a", "other/album/b"]
    with pytest.raises(UserError, match=r"no annotations for .*groundtruth=folders"):
        annotations.from_folders(settings(), tmp_path, library)
    folders = annotations.from_folders(settings(groundtruth="folders"), tmp_path, library)
    assert folders.vocabulary("genre") == ("artist", "other")


def test_splits_that_cannot_be_read_do_not_matter_where_others_are_asked_for(tmp_path):
    table = tmp_path / "tracks.csv"
    table.write_text("path,split,genre\n" + "".join(f"{n}.ogg,fold{n},rock\n" for n in range(20)))
    with pytest.raises(CorpusError, match=r"split 'fold0'.*splits=stratified"):
        annotations.read(settings(), table)
    made = annotations.arrange(wanted := settings(splits="stratified"), annotations.read(wanted, table))
    assert [len(made.split(name)) for name in ("train", "valid", "test")] == [16, 2, 2]
    assert made.notes[-1].endswith("not those that are given")


def test_probes_ask_for_what_tracks_are_annotated_for():
    corpus = Corpus("c", (Track("a", "train", {"genre": "x", "tempo": 120.0}),))
    assert annotations.tasks_of("auto", corpus) == ["genre", "tempo"]
    assert annotations.tasks_of(["key", "key"], corpus) == ["key"]
    assert annotations.tasks_of("auto", Corpus("c", ())) == ["tagging"]


def test_a_table_that_nobody_named_is_found_beside_the_folder(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "tracks.csv").write_text("path,genre\n")
    settings = DatamoduleSettings(base_dir=str(tmp_path / "audio"))
    assert annotations.table_found(settings, tmp_path / "audio") == tmp_path / "tracks.csv"
    named = settings.model_copy(update={"groundtruth": "other.csv"})
    assert annotations.table_found(named, tmp_path / "audio") is None
