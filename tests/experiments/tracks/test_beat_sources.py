"""Beats beside audio, of folders and of long tables; tempi that follow from them; beats that the audio refutes."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.beats import Beats
from datasets.corpus import Corpus, Track
from datasets.tables import CorpusError
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tasks import build
from experiments.tracks import beat_sources
from experiments.tracks.annotations import task_of, tasks_of
from experiments.tracks.data import build_task, fit_labels, open_source, read_corpus


@pytest.fixture
def opened(tiny_corpus, tiny_mels):
    """Opens the audio of the demo corpus, whose features are stored."""

    def how(**settings):
        chosen = DatamoduleSettings(base_dir=str(tiny_corpus / "audio"), store_dir=str(tiny_mels), **settings)
        return chosen, open_source(chosen)

    return how


def beats(*times, positions=None):
    return Beats(np.array(times, np.float64), positions)


def said(capsys):
    return capsys.readouterr().err


def test_the_demo_corpus_has_beats_for_a_task_that_needs_them_and_is_unchanged_for_others(opened, capsys):
    settings, source = opened(task="beats")
    corpus = read_corpus(settings, source)
    assert len(corpus.annotated("beats")) == len(corpus) == 40
    assert all(track.annotations["beats"].has_downbeats for track in corpus)
    for track in corpus:
        assert track.annotations["beats"].tempo == pytest.approx(track.annotations["tempo"], rel=1e-3)
    assert corpus.split_by == "given"
    assert "beats: of 40 files beside the audio" in said(capsys)
    settings, source = opened()
    corpus = read_corpus(settings, source)
    assert "beats" not in corpus.annotations
    assert task_of("auto", corpus) == "tagging"
    trained = read_corpus(settings, source, build("beats"))
    assert "beats" in fit_labels(settings, trained, build("beats")).annotations


def test_files_of_beats_beside_audio_need_no_table(opened, tiny_corpus, tmp_path):
    audio = tmp_path / "audio"
    audio.mkdir()
    for name in ("00000", "00001"):
        for suffix in (".flac", ".beats"):
            (audio / f"{name}{suffix}").write_bytes((tiny_corpus / "audio" / f"{name}{suffix}").read_bytes())
    settings = DatamoduleSettings(base_dir=str(audio), store_dir=str(tmp_path / "mels"), task="beats")
    corpus = read_corpus(settings, open_source(settings))
    assert [track.id for track in corpus] == ["00000", "00001"]
    assert corpus.split_by == "by a hash of the path"
    with pytest.raises(UserError, match=r"no annotations for .*datamodule\.task=beats"):
        open_source(DatamoduleSettings(base_dir=str(audio), store_dir=str(tmp_path / "mels")))
    for file in audio.glob("*.beats"):
        file.unlink()
    with pytest.raises(UserError, match=r"no beats for .*beside the audio.*groundtruth=FOLDER_OR_TABLE"):
        open_source(settings)


def test_a_folder_and_a_long_table_give_beats_to_audio_of_the_same_names(opened, tmp_path, capsys):
    folder = tmp_path / "beats"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number:05d}.txt").write_text("0.5\t1\n1.0\t2\n1.5\t1\n100.5\t2\n")
    (folder / "00003.txt").write_text("no beats\n")
    settings, source = opened(groundtruth=str(folder), splits="stratified")
    corpus = read_corpus(settings, source)
    assert task_of("auto", corpus) == "beats"
    assert tasks_of("auto", corpus) == ["tagging"]
    assert corpus.split_by.startswith("stratified")
    assert [track.id for track in corpus if "beats" not in track.annotations] == ["00003"]
    assert corpus.tracks[0].annotations["beats"].times.tolist() == [0.5, 1.0, 1.5]
    message = said(capsys)
    assert "1 annotation of beats is not readable and left out" in message
    assert "4 beats lie behind the end of the audio of 4 tracks and left out: 00000 (1), 00001 (1)" in message

    table = tmp_path / "set_beats.csv"
    table.write_text("track,time,position_in_bar\n" + "".join(f"set_0000{n},{n + 1}.5,1\n" for n in range(3)))
    settings, source = opened(groundtruth=str(table))
    assert {track.id for track in read_corpus(settings, source)} == {f"set_0000{n}" for n in range(3)}
    (tmp_path / "none").mkdir()
    with pytest.raises(CorpusError, match="no files of beats"):
        opened(groundtruth=str(tmp_path / "none"))


def test_tempi_follow_from_beats_where_a_task_needs_them(capsys):
    songs = Corpus(
        "songs",
        (
            Track("a", "train", {"beats": beats(0.5, 1.0, 1.5, 2.2)}),
            Track("b", "train", {"beats": beats(0.5)}),
            Track("c", "train", {"beats": beats(0.0, 100.0)}),
            Track("d", "train", {"beats": beats(1.0, 2.0)}),
        ),
    )
    corpus, task = build_task(DatamoduleSettings(), songs, "tempo")
    assert [track.annotations.get("tempo") for track in corpus] == [120.0, None, None, 60.0]
    assert "tempo: 60 over the median interval of the beats, of 2 tracks" in said(capsys)
    assert fit_labels(DatamoduleSettings(), songs, build("tempo")).annotated("tempo").tracks[1].id == "d"
    assert task.name == "tempo"
    known = Corpus("songs", (*songs.tracks, Track("e", "train", {"tempo": 90.0})))
    assert beat_sources.with_tempo(known, ("tempo",)) is known


def test_a_task_about_beats_without_any_says_where_they_can_be_given():
    songs = Corpus("songs", (Track("a", "train", {"genre": "rock"}),))
    with pytest.raises(UserError, match=r"no track of songs has beats.*\(or files of beats, datamodule\.groundtruth="):
        build_task(DatamoduleSettings(), songs, "beats")


def test_beats_that_other_tasks_do_not_need_are_not_looked_for(tmp_path):
    (tmp_path / "a.beats").write_text("x\n")
    songs = Corpus("songs", (Track("a.wav", "train", {"genre": "rock", "tempo": 100.0}),))
    for wanted in (("genre",), ("tempo",), ()):
        assert beat_sources.completed(songs, tmp_path, wanted) is songs
    completed = beat_sources.completed(songs, tmp_path, ("beats",))
    assert "beats" not in completed.annotations
    assert "not readable" in completed.notes[-1]
