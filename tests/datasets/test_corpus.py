"""Corpora from tables, folders and pickles: what is read, what it is taken for, what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.corpus import CorpusError, parse_tags, read_groundtruths, read_table


@pytest.fixture
def table(tmp_path):
    def write(text: str):
        path = tmp_path / "tracks.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_table_becomes_tracks_with_splits_and_typed_annotations(table):
    corpus = read_table(
        table("path,split,tags,genre,tempo\na/1.ogg,train,rock;fast,rock,120\nb.mp3,VAL,-,jazz,\nc.mp3,test,,,\n")
    )
    first, second, third = corpus
    assert (first.id, first.split) == ("a/1.ogg", "train")
    assert first.annotations == {"tags": ("rock", "fast"), "genre": "rock", "tempo": 120.0}
    assert second.split == "valid"
    assert second.annotations == {"tags": (), "genre": "jazz"}
    assert third.annotations == {}


def test_a_column_can_have_another_name(table):
    corpus = read_table(table("file,mtt_tags\nx.ogg,harp|slow\n"), {"tags": "mtt_tags", "genre": "genre"})
    assert corpus.tracks[0].annotations == {"tags": ("harp", "slow")}
    assert corpus.vocabulary("tags") == ("harp", "slow")


def test_several_columns_of_tags_are_pooled(table):
    corpus = read_table(
        table("path,tags,genre\nx.ogg,harp;slow,folk\ny.ogg,,jazz\nz.ogg,-,jazz\n"), {"tags": ["tags", "genre", "mood"]}
    )
    assert [track.annotations.get("tags") for track in corpus] == [("harp", "slow", "folk"), None, ("jazz",)]


def test_a_column_of_numbers_that_nobody_named_and_that_holds_words_is_left_out_and_said(table):
    text = "path,genre,tempo,arousal\nx.ogg,rock,allegro,2.5\ny.ogg,jazz,120,\n"
    usual = {name: name for name in ("genre", "tempo", "arousal", "valence")}
    corpus = read_table(table(text), usual)
    assert [dict(track.annotations) for track in corpus] == [{"genre": "rock", "arousal": 2.5}, {"genre": "jazz"}]
    assert "column 'tempo' is not read, 'allegro' is no number (another one can be named: columns.tempo)" in str(
        corpus.notes
    )
    with pytest.raises(CorpusError, match="allegro"):
        read_table(table(text.replace("tempo", "bpm")), {**usual, "tempo": "bpm"})


def test_tracks_with_several_annotations(table):
    corpus = read_table(table("path,arousal,valence,group\nx.ogg,1,2,12\ny.ogg,1,,12\nz.ogg,,2,\n"))
    assert [track.id for track in corpus.annotated("arousal", "valence")] == ["x.ogg"]
    assert corpus.tracks[1].annotations == {"arousal": 1.0, "group": "12"}
    with pytest.raises(CorpusError, match="no track has 'key' and 'arousal'; there is"):
        corpus.annotated("key", "arousal")


def test_columns_that_are_not_asked_for_are_not_parsed(table):
    corpus = read_table(table("path,genre,tempo\nx.ogg,rock,about 120\n"), {"genre": "genre"})
    assert corpus.tracks[0].annotations == {"genre": "rock"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column for the path"),
        ("title,genre\nx,rock\n", "no column for the path"),
        ("path,genre\n", "no rows"),
        ("path,genre\n,rock\n", "line 2: empty cell"),
        ("path,split\nx,tain\n", "line 2: split 'tain'"),
        ("path,tempo\nx,fast\n", "tempo='fast' is not a tempo"),
        ("path,genre\nx,rock\nx,jazz\n", "stands in it twice"),
        ("path;genre\nx;rock\n", "'path;genre' .columns are separated by commas"),
        ("path,tags,genre\nx,fast, loud,rock\n", "line 2: 4 cells for 3 columns; join the tags"),
        ("path,split,genre\nx\n", "line 2: 1 cell for 3 columns"),
    ],
)
def test_what_cannot_be_used_is_named(table, text, said):
    with pytest.raises(CorpusError, match=said):
        read_table(table(text))


def test_a_missing_table_or_column_is_named(table, tmp_path):
    with pytest.raises(CorpusError, match=r"nowhere\.csv"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(CorpusError, match=r"no column for tags \(mood\); there is 'path', 'tags'"):
        read_table(table("path,tags\nx,rock\n"), {"tags": "mood"})


def test_an_annotation_nobody_has_is_named(table):
    with pytest.raises(CorpusError, match="no track has 'genre'; there is tags"):
        read_table(table("path,tags\nx,rock\n")).vocabulary("genre")


@given(st.lists(st.text(alphabet="abc de", min_size=1).map(str.strip).filter(bool), unique=True))
def test_tags_survive_a_cell(tags):
    assert parse_tags("; ".join(tags)) == tuple(tags)


def test_a_table_in_another_encoding_is_named(tmp_path):
    (tmp_path / "tracks.csv").write_bytes("path,tags\nx,Bläser\n".encode("latin-1"))
    with pytest.raises(CorpusError, match="save it as UTF-8"):
        read_table(tmp_path / "tracks.csv")


def test_pickled_ground_truths_become_a_corpus(tmp_path):
    for split, rows in {"train": {"a": [1, 0], "b": [1, 1]}, "test": {"c": [0, 0]}}.items():
        truth = {identity: np.array(row, bool) for identity, row in rows.items()}
        (tmp_path / f"{split}.pk").write_bytes(pickle.dumps(truth, protocol=4))
    files = {split: tmp_path / f"{split}.pk" for split in ("train", "test")}
    corpus = read_groundtruths(files, ("rock", "slow"))
    assert [(track.id, track.split, track.annotations["tags"]) for track in corpus] == [
        ("a", "train", ("rock",)),
        ("b", "train", ("rock", "slow")),
        ("c", "test", ()),
    ]
    with pytest.raises(CorpusError, match="2 classes, expected 3"):
        read_groundtruths(files, ("one", "two", "three"))


def annotated(corpus, name):
    """The annotations of a corpus by track."""
    return {track.id: track.annotations.get(name) for track in corpus}


@pytest.mark.parametrize("head", ["labels", "Label", "CLASS", "classes", "genres", "category", "target"])
def test_a_column_of_labels_is_taken_for_what_its_cells_hold(table, head):
    several = read_table(table(f"path,{head}\na.ogg,rock;slow\nb.ogg,rock\n"))
    assert annotated(several, "tags") == {"a.ogg": ("rock", "slow"), "b.ogg": ("rock",)}
    assert several.notes == (
        f"tracks.csv: column {head!r} is read as tags, tracks can have several (as genre: columns.genre={head})",
    )
    single = read_table(table(f"File,{head}\na.ogg,rock\nb.ogg,jazz\n"))
    assert annotated(single, "genre") == {"a.ogg": "rock", "b.ogg": "jazz"}
    assert "is read as genre" in single.notes[0]
    asked = read_table(table(f"path,{head}\na.ogg,rock\nb.ogg,jazz\n"), {"tags": head, "genre": "genre"})
    assert (annotated(asked, "tags")["a.ogg"], asked.notes) == (("rock",), ())


def test_a_column_with_a_name_of_its_own_comes_before_a_general_one(table):
    corpus = read_table(table("path,genre,label\nx,rock,loud\ny,jazz,soft\n"))
    assert annotated(corpus, "genre") == {"x": "rock", "y": "jazz"}
    assert corpus.annotations == ("genre",)


def test_other_names_for_path_split_and_artist(table):
    corpus = read_table(table("Filename,Subset,performer,Tag\nx,dev,Ella,scat\n"))
    (track,) = corpus
    assert (track.id, track.split, corpus.split_by) == ("x", "valid", "given")
    assert track.annotations == {"artist": "Ella", "tags": ("scat",)}
    own = read_table(table("path,where,set,by\nx,y,test,Duke\n"), {"path": "where", "split": "set", "artist": "by"})
    assert [(track.id, track.split, track.annotations) for track in own] == [("y", "test", {"artist": "Duke"})]


def test_pooled_columns_that_are_all_absent_are_no_mistake_where_the_usual_one_is_among_them(table):
    corpus = read_table(table("path,label\nx,rock\ny,jazz\n"), {"tags": ["tags", "mood"], "genre": "genre"})
    assert corpus.annotations == ("genre",)


def test_tags_joined_by_commas_are_noticed_and_can_be_parted(table):
    text = 'path,tags\nx,"rock, slow"\ny,jazz\n'
    (note,) = read_table(table(text)).notes
    assert "1 of 2 cells of tags hold a comma and none holds ; or |: 'rock, slow' is one label" in note
    parted = read_table(table(text), separators=",")
    assert (annotated(parted, "tags")["x"], parted.notes) == (("rock", "slow"), ())
    assert read_table(table('path,tags\nx,"Folk, World, & Country;Rock"\n')).notes == ()


def test_a_track_that_stands_there_twice_is_named_with_both_lines(table):
    with pytest.raises(CorpusError, match=r"x\.ogg stands in it twice \(line 2 and line 4\); give each track one row"):
        read_table(table("path,label\nx.ogg,rock\ny.ogg,rock\nx.ogg,slow\n"))


def test_numbers_that_are_none(table):
    (track,) = read_table(table("path,arousal,tempo\nx,NaN,120\n"))
    assert track.annotations == {"tempo": 120.0}
    with pytest.raises(CorpusError, match="line 2: tempo='inf' is not a tempo"):
        read_table(table("path,tempo\nx,inf\n"))


@pytest.mark.parametrize("row", [np.array(True), np.ones((2, 3), bool)])
def test_ground_truth_that_is_no_list_of_classes_is_named(tmp_path, row):
    (tmp_path / "train.pk").write_bytes(pickle.dumps({"a.mmap": row}))
    with pytest.raises(CorpusError, match=r"train\.pk: a\.mmap has an array of shape .*, expected \[classes\]"):
        read_groundtruths({"train": tmp_path / "train.pk"})
