"""Corpora from tables, folders and pickles: what is read, what it is taken for, what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.cells import parse_tags
from datasets.corpus import CorpusError, read_groundtruths, read_table


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


def test_what_is_no_number_stays_as_text_unless_most_of_a_column_that_nobody_named_is_none(table):
    text = "path,genre,tempo,arousal\nx.ogg,rock,allegro,2.5\ny.ogg,jazz,120,\n"
    usual = {name: name for name in ("genre", "tempo", "arousal", "valence")}
    one = read_table(table(text), usual, lenient=True)
    assert [dict(track.annotations) for track in one] == [
        {"genre": "rock", "tempo": "allegro", "arousal": 2.5},
        {"genre": "jazz", "tempo": 120.0},
    ]
    assert one.notes == ()
    named = read_table(table(text.replace("tempo", "bpm")), {**usual, "tempo": "bpm"}, lenient=True)
    assert [track.annotations["tempo"] for track in named] == ["allegro", 120.0]
    most = read_table(table(f"{text}z.ogg,folk,lento,1\n"), usual, lenient=True)
    assert [track.annotations.get("tempo") for track in most] == [None, None, None]
    assert most.notes == (
        "tracks.csv, line 2: tempo='allegro' is no number, nor are most cells of this column, which is not read",
    )
    with pytest.raises(CorpusError, match="line 2: bpm='allegro' is not a tempo: it is no number"):
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
        ("where;genre\nx;rock\n", "there is 'where', 'genre' .columns are separated by semicolons"),
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
        f"tracks.csv: column {head!r} is read as tags, tracks can have several "
        f"(as genre: datamodule.columns.genre={head})",
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


def test_tags_joined_by_commas_are_refused_until_someone_says_what_a_comma_is(table):
    text = 'path,tags\nx,"rock, slow"\ny,jazz\n'
    with pytest.raises(CorpusError, match=r"line 2: tags='rock, slow': .* datamodule\.separators=, parts them"):
        read_table(table(text))
    assert annotated(read_table(table(text), separators=","), "tags")["x"] == ("rock", "slow")
    assert annotated(read_table(table(text), separators=";"), "tags")["x"] == ("rock, slow",)
    one = read_table(table('path,tags\nx,"Folk, World, & Country;Rock"\ny,Rock\nz,"Folk, World, & Country"\n'))
    assert annotated(one, "tags")["z"] == ("Folk, World, & Country",)
    rare = "".join(f"{n},{label}\n" for n, label in enumerate(["rock", "slow", "jazz", "pop"]))
    with pytest.raises(CorpusError, match="line 6: tags='Rock, slow'"):
        read_table(table(f'path,tags\n{rare}x,"Rock, slow"\n'))
    with pytest.raises(CorpusError, match=r"line 6: genre='Rock, slow'.*separators=, datamodule\.columns\.tags=genre"):
        read_table(table(f'path,genre\n{rare}x,"Rock, slow"\n'))


def test_a_track_that_stands_there_twice_is_named_with_both_lines(table):
    with pytest.raises(CorpusError, match=r"x\.ogg stands in it twice \(line 2 and line 4\); give each track one row"):
        read_table(table("path,label\nx.ogg,rock\ny.ogg,rock\nx.ogg,slow\n"))


def test_numbers_that_are_none(table):
    corpus = read_table(table("path,arousal,tempo\nx,NaN,120\n"), {"arousal": "arousal", "tempo": "tempo"})
    assert (corpus.tracks[0].annotations, corpus.notes) == ({"tempo": 120.0}, ())
    with pytest.raises(CorpusError, match="line 2: tempo='inf' is not a tempo: it is no number"):
        read_table(table("path,tempo\nx,inf\n"))


@pytest.mark.parametrize("cell", ["\"['rock', 'slow']\"", '"[""rock"", ""slow""]"', "['rock' 'slow']", "rock|slow"])
def test_a_list_in_a_cell_is_several_tags_and_too_many_for_a_genre(table, cell):
    assert annotated(read_table(table(f"path,tags\nx,{cell}\n")), "tags") == {"x": ("rock", "slow")}
    assert annotated(read_table(table(f"path,labels\nx,{cell}\n")), "tags") == {"x": ("rock", "slow")}
    with pytest.raises(CorpusError, match=r"line 3: genre=.* holds 2 values, .* datamodule\.columns\.tags"):
        read_table(table(f"path,genre\nw,rock\nx,{cell}\n"))


def test_the_remedy_for_several_genres_in_a_cell_leads_to_tags(table):
    columns = {"tags": "genre", "genre": "genre"}
    several = read_table(table("path,genre\nx,rock;slow\ny,rock\n"), columns)
    assert [dict(track.annotations) for track in several] == [{"tags": ("rock", "slow")}, {"tags": ("rock",)}]
    assert read_table(table("path,genre\nx,rock\n"), columns).annotations == ("genre", "tags")


def test_half_a_list_is_refused_with_its_row_and_column(table):
    with pytest.raises(CorpusError, match=r"line 2: tags='\[rock, slow\]' cannot be read as tags: a list"):
        read_table(table('path,tags\nx,"[rock, slow]"\n'))


def test_a_list_of_one_is_that_one(table):
    (track,) = read_table(table("path,genre,key,tempo\nx,['rock'],['Am'],['120']\n"))
    assert track.annotations == {"genre": "rock", "key": "Am", "tempo": 120.0}


def test_a_track_whose_two_rows_differ_in_the_form_of_accents_stands_there_twice(table):
    with pytest.raises(CorpusError, match=r"stands in it twice \(line 2 and line 3\)"):
        read_table(table("path,genre\ncaf\u00e9.wav,rock\ncafe\u0301.wav,jazz\n"))


def test_clips_of_a_song_stay_together_whatever_the_form_of_accents(table):
    corpus = read_table(table("path,group\n1.wav,caf\u00e9\n2.wav,cafe\u0301\n"))
    assert len({track.annotations["group"] for track in corpus}) == 1


def test_a_column_tells_how_its_keys_are_read(table):
    german = read_table(table("path,key\nx,B\ny,H\nz,c-moll\n"))
    assert annotated(german, "key") == {"x": "Bb major", "y": "H", "z": "c-moll"}
    assert german.notes == (
        "tracks.csv: column 'key': notes have German names, such as 'H': B is read as B flat and H as B "
        "(1 of 3, for instance 'B')",
    )
    assert annotated(read_table(table("path,key\nx,B\ny,Bb\n")), "key") == {"x": "B", "y": "Bb"}


@pytest.mark.parametrize(
    ("head", "cell", "name"),
    [
        ("bpm", "120", "tempo"),
        ("BPM (avg)", "120", "tempo"),
        ("InitialKey", "Am", "key"),
        ("Camelot", "8A", "key"),
        ("valence_mean", "0.3", "valence"),
        ("genre_top", "rock", "genre"),
    ],
)
def test_a_column_that_may_hold_something_is_pointed_at(table, head, cell, name):
    (note,) = read_table(table(f"path,{head}\nx,{cell}\n")).notes
    assert note.startswith(f"tracks.csv: column {head!r} is not read; if it is the {name}: ")
    assert f"datamodule.columns.{name}={head}" in note
    assert read_table(table(f"path,{head}\nx,{cell}\n"), {name: head}).annotations == (name,)


def test_a_column_whose_cells_do_not_fit_is_not_pointed_at(table):
    assert read_table(table("path,bpm,tonality\nx,fast,bright\n")).notes == ()
    assert read_table(table("path,bpm,tempo\nx,60,120\n")).notes == ()


@pytest.mark.parametrize("row", [np.array(True), np.ones((2, 3), bool)])
def test_ground_truth_that_is_no_list_of_classes_is_named(tmp_path, row):
    (tmp_path / "train.pk").write_bytes(pickle.dumps({"a.mmap": row}))
    with pytest.raises(CorpusError, match=r"train\.pk: a\.mmap has an array of shape .*, expected \[classes\]"):
        read_groundtruths({"train": tmp_path / "train.pk"})


def test_a_column_that_is_read_as_something_else_is_not_pointed_at(table):
    corpus = read_table(table("path,genre\nx,rock;slow\n"), {"tags": "genre"})
    assert corpus.notes == ()


def test_a_table_without_a_path_points_at_its_first_column(table):
    with pytest.raises(CorpusError, match=r"if it is 'Datei', give datamodule\.columns\.path=Datei"):
        read_table(table("Datei,genre\nx,rock\n"))
