"""Tables of annotations: what is read, what is refused, how labelled and stored tracks find each other."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.corpus import CorpusError, parse_tags, read_groundtruths, read_table
from datasets.matching import match_tracks
from datasets.splits import hashed_split


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
        ("path,split,genre\nx\n", "line 2: 1 cells for 3 columns"),
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


@given(st.text(min_size=1))
def test_a_hashed_split_depends_on_the_id_alone(identity):
    assert hashed_split(identity) == hashed_split(identity)


def test_hashed_splits_are_about_80_10_10():
    splits = [hashed_split(f"track {number}") for number in range(5000)]
    shares = [splits.count(name) / len(splits) for name in ("train", "valid", "test")]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_a_table_in_another_encoding_is_named(tmp_path):
    (tmp_path / "tracks.csv").write_bytes("path,tags\nx,Bläser\n".encode("latin-1"))
    with pytest.raises(CorpusError, match="save it as UTF-8"):
        read_table(tmp_path / "tracks.csv")


def test_ids_match_exactly_then_without_suffix():
    matched = match_tracks(["a.ogg", "b", "gone.wav"], ["a.ogg", "b.mp3", "d.ogg"])
    assert matched.stored == {"a.ogg": "a.ogg", "b": "b.mp3"}
    assert matched.without_audio == ("gone.wav",)
    assert matched.without_labels == ("d.ogg",)


def test_ids_match_by_name_where_the_table_is_of_another_folder():
    matched = match_tracks(["clips/c.ogg", "clips/d.wav"], ["c.ogg", "music/d.ogg"])
    assert matched.stored == {"clips/c.ogg": "c.ogg", "clips/d.wav": "music/d.ogg"}


def test_a_missing_track_does_not_get_the_audio_of_another_with_its_name():
    matched = match_tracks(["one/01.ogg", "two/01.ogg", "two/02.ogg"], ["one/01.ogg", "three/02.ogg", "three/01.ogg"])
    assert matched.stored == {"one/01.ogg": "one/01.ogg"}


def test_accents_match_however_they_are_composed():
    assert match_tracks(["caf\u00e9.ogg"], ["cafe\u0301.ogg"]).stored == {"caf\u00e9.ogg": "cafe\u0301.ogg"}


def test_an_ambiguous_name_does_not_match():
    matched = match_tracks(["x.ogg", "1/y.ogg", "2/y.ogg"], ["x.ogg", "y.ogg"])
    assert matched.stored == {"x.ogg": "x.ogg"}


def test_nothing_in_common_is_an_error_that_shows_both():
    with pytest.raises(CorpusError, match=r"'a\.ogg' is labelled, 'b\.ogg' is stored"):
        match_tracks(["a.ogg"], ["b.ogg"])


@given(st.lists(st.from_regex(r"[a-z]{1,4}/[a-z]{1,4}\.(ogg|mp3)", fullmatch=True), unique=True, min_size=1))
def test_equal_ids_always_match_each_other(ids):
    assert match_tracks(ids, ids).stored == {identity: identity for identity in ids}


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
