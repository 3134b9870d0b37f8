"""Corpora of beats: folders of files, long tables, columns of tables, and mirdata's loaders."""

from __future__ import annotations

import gzip
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from datasets.beat_cells import beats_cell, parse_cell
from datasets.beat_corpus import beat_files, is_beat_table, read_beat_folder, read_beat_table
from datasets.beats import Beats
from datasets.corpus import Corpus, Track, read_table
from datasets.corpus_summary import other_annotations
from datasets.matching import match_tracks
from datasets.mirdata_beats import of_loader, read_mirdata
from datasets.tables import CorpusError


def times_of(corpus):
    return {track.id: beats.times.tolist() for track in corpus if (beats := track.annotations.get("beats")) is not None}


@pytest.fixture
def folder(tmp_path):
    """Files of beats of several kinds, and others."""
    for name, text in {
        "a.beats": "0.5 1\n1.0 2\n",
        "a.txt": "9.0\n",
        "sub/b.txt": "0.25\n",
        "RM-P001.BEAT.TXT": "50\t51\t384\n100\t101\t48\n",
        "README.txt": "Beats by ear.\n",
        "none.beats": "",
        "split.csv.bak": "x",
        ".hidden.beats": "1\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_folder_is_a_corpus_and_what_cannot_be_read_is_told(folder):
    corpus = read_beat_folder(folder)
    assert times_of(corpus) == {"RM-P001": [0.5, 1.0], "a": [0.5, 1.0], "none": [], "sub/b": [0.25]}
    assert [track.id for track in corpus if not track.annotations] == ["README"]
    assert len(corpus.notes) == 1
    assert "1 annotation of beats is not readable and left out" in corpus.notes[0]
    assert "README.txt, line 1" in corpus.notes[0]


def test_a_folder_without_beats_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="no files of beats below"):
        read_beat_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing here\n")
    with pytest.raises(CorpusError, match=r"none of 1 annotations of beats can be read; the first reason: .*notes.txt"):
        read_beat_folder(tmp_path)


def test_files_that_are_links_are_passed_over(folder):
    (folder / "c.beats").symlink_to("/etc/hostname")
    assert "c" not in beat_files(folder)


def test_a_long_table_is_a_corpus(tmp_path):
    text = "track,time,position_in_bar\nx_a,0.5,1\nx_a,1.0,2\nx_b,0.75,\nx_c,soon,1\nx_d,,\n"
    plain, packed = tmp_path / "beats.csv", tmp_path / "x_beats.csv.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for file in (plain, packed):
        assert is_beat_table(file)
        corpus = read_beat_table(file)
        assert times_of(corpus) == {"x_a": [0.5, 1.0], "x_b": [0.75], "x_d": []}
        assert [track.annotations["beats"].has_downbeats for track in corpus.annotated("beats")] == [True, False, False]
        assert "x_c" in corpus.notes[0]
    assert corpus.name == "x_beats"


def test_other_tables_are_no_long_tables(tmp_path):
    for name, text in {
        "tracks.csv": "path,genre\na.ogg,rock\n",
        "a.csv": "track,time,genre\na.ogg,3,rock\n",
        "b.csv.gz": "track,time\n",
        "empty.csv": "",
    }.items():
        (tmp_path / name).write_text(text)
        assert not is_beat_table(tmp_path / name)


def test_a_damaged_long_table_is_refused(tmp_path):
    file = tmp_path / "beats.csv"
    file.write_text("track,time\na,1\na\n")
    with pytest.raises(CorpusError, match=r"beats.csv, line 3: 1 cells, expected 2"):
        read_beat_table(file)
    file.write_text("track,time\na,1\na," + "2" * 10_000 + "\n")
    with pytest.raises(CorpusError, match="1 cells, expected 2"):
        read_beat_table(file)
    packed = tmp_path / "beats.csv.gz"
    packed.write_bytes(gzip.compress(b"track,time\n" + b"a,1\n" * 5000)[:-30])
    with pytest.raises(CorpusError, match="no table of beats that can be read"):
        read_beat_table(packed)


def test_a_long_table_that_unfolds_beyond_measure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.beat_corpus.MOST_ROWS", 100)
    for rows in (100, 101):
        lines = "".join(f"a,{number}\n" for number in range(rows))
        (tmp_path / f"{rows}.csv.gz").write_bytes(gzip.compress(f"track,time\n{lines}".encode()))
    assert len(read_beat_table(tmp_path / "100.csv.gz").tracks) == 1
    with pytest.raises(CorpusError, match=r"more than 100 beats"):
        read_beat_table(tmp_path / "101.csv.gz")


def test_tracks_whose_names_share_a_prefix_find_their_audio():
    matched = match_tracks(["ballroom_Waltz-01", "ballroom_Tango-02"], ["audio/Waltz-01.wav", "audio/Tango-02.wav"])
    assert matched.stored == {"ballroom_Waltz-01": "audio/Waltz-01.wav", "ballroom_Tango-02": "audio/Tango-02.wav"}
    with pytest.raises(CorpusError, match="none of the 2 labelled tracks"):
        match_tracks(["a_Waltz", "b_Tango"], ["Waltz.wav", "Tango.wav"])


def test_a_column_holds_paths_or_lists(folder):
    rows = [
        ("a.ogg", "a.beats"),
        ("b.ogg", "sub\\b.txt"),
        ("c.ogg", "[0.5, 1.0]"),
        ("d.ogg", "[[0.5, 4], [1.0, 1]]"),
        ("e.ogg", ""),
        ("f.ogg", "[]"),
    ]
    table = folder / "tracks.csv"
    table.write_text("path;beats\n" + "".join(f"{path};{cell}\n" for path, cell in rows))
    corpus = read_table(table)
    assert times_of(corpus) == {
        "a.ogg": [0.5, 1.0],
        "b.ogg": [0.25],
        "c.ogg": [0.5, 1.0],
        "d.ogg": [0.5, 1.0],
        "f.ogg": [],
    }
    (folder / "tracks.json").write_text(
        json.dumps([{"path": "a.ogg", "beats": [0.5, 1.0]}, {"path": "b.ogg", "beats": [[0.5, 1], [1.0, None]]}])
    )
    positions = [track.annotations["beats"].positions for track in read_table(folder / "tracks.json")]
    assert positions[0] is None
    assert positions[1].tolist() == [1, 0]


def test_a_cell_of_beats_is_read_again(tmp_path):
    both = [Beats(np.array([0.1, 1 / 3]), np.array([4, 1])), Beats(np.array([0.5])), Beats(np.empty(0))]
    for beats in both:
        again = parse_cell(beats_cell(beats))
        assert again.times.tolist() == beats.times.tolist()
        assert again.has_downbeats == beats.has_downbeats


@pytest.mark.parametrize(
    "cell", ["../secret.beats", "/etc/hostname", "gone.beats", "link.beats", "README.txt", "[x]", "4"]
)
def test_a_cell_that_names_no_beats_inside_the_folder_is_refused_or_left_out(folder, cell):
    corpus_folder = folder / "corpus"
    corpus_folder.mkdir()
    (folder / "secret.beats").write_text("1.0\n")
    (corpus_folder / "link.beats").symlink_to(folder / "secret.beats")
    (corpus_folder / "README.txt").write_text("Beats by ear.\n")
    (corpus_folder / "ok.beats").write_text("1.0\n")
    table = corpus_folder / "tracks.csv"
    table.write_text(f"path;beats\na.ogg;{cell}\nb.ogg;ok.beats\n")
    with pytest.raises(CorpusError, match=r"line 2|README"):
        read_table(table)
    corpus = read_table(table, lenient=True)
    assert times_of(corpus) == {"b.ogg": [1.0]}
    assert "1 annotation of beats is not readable and left out:\n  " in corpus.notes[0]


def test_a_path_may_be_relative_to_the_audio(folder):
    table = folder / "sub" / "tracks.csv"
    table.write_text("path,beats\na.ogg,a.beats\n")
    assert times_of(read_table(table, audio=folder)) == {"a.ogg": [0.5, 1.0]}


class Loaded:
    """A track of mirdata, whose beats may fail."""

    def __init__(self, audio, beats, path=None):
        self.audio_path, self._beats, self.beats_path = audio, beats, path

    @property
    def tempo(self):
        raise TypeError("only 0-dimensional arrays can be converted to Python scalars")

    @property
    def beats(self):
        if isinstance(self._beats, Exception):
            raise self._beats
        return self._beats


def test_mirdata_is_read_in_spite_of_its_faults(folder):
    data = SimpleNamespace(times=np.array([0.5, 1.0]), positions=np.array([1.0, 2.0]))
    tracks = {
        "one": Loaded(str(folder / "audio" / "one.wav"), data),
        "two": Loaded(None, SimpleNamespace(times=np.array([0.5]), positions=None)),
        "twice": Loaded(None, ValueError("times should be strictly increasing"), str(folder / "a.beats")),
        "empty": Loaded(None, IndexError("list index out of range"), str(folder / "none.beats")),
        "broken": Loaded(None, ValueError("Could not determine delimiter"), str(folder / "README.txt")),
        "without": Loaded(None, None),
    }
    loader = SimpleNamespace(track_ids=list(tracks), track=tracks.__getitem__)
    corpus = of_loader("fake", loader, folder)
    assert times_of(corpus) == {"audio/one.wav": [0.5, 1.0], "two": [0.5], "twice": [0.5, 1.0], "empty": []}
    assert "2 annotations of beats are not readable and left out:\n  broken: CorpusError" in corpus.notes[0]


@pytest.mark.parametrize("error", [FileNotFoundError("index was expected but not found"), KeyError("1.0")])
def test_a_loader_that_does_not_work_is_told(monkeypatch, tmp_path, error):
    class Loader:
        @property
        def track_ids(self):
            raise error

    def initialize(name, data_home):
        if isinstance(error, KeyError):
            raise error
        return Loader()

    monkeypatch.setitem(sys.modules, "mirdata", SimpleNamespace(initialize=initialize))
    with pytest.raises(CorpusError, match="mirdata:simac: "):
        read_mirdata("simac", tmp_path)


def test_mirdata_is_no_need(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mirdata", None)
    with pytest.raises(CorpusError, match=r"pip install mirdata, or .*datamodule.groundtruth=FOLDER"):
        read_mirdata("ballroom", tmp_path)


def test_a_report_counts_beats():
    tracks = (
        Track("a", "train", {"beats": Beats(np.array([0.5, 1.0]), np.array([1, 2]))}),
        Track("b", "train", {"beats": Beats(np.array([0.5]))}),
    )
    assert other_annotations(Corpus("songs", tracks), (), {}) == [
        "",
        "beats: 2 tracks, 3 beats, 1 track with downbeats",
    ]
