"""From the settings of a data module to tracks: what is taken for what, and how a command line names it again."""

from __future__ import annotations

import shlex

import pytest
from pydantic import ValidationError

from datasets.corpus import Corpus, CorpusError, Track
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tracks.annotations import pooling_note, read
from experiments.tracks.data import (
    build_task,
    fit_labels,
    open_source,
    say,
    spell,
)
from preprocess.files import holds_features


def corpus(*rows):
    """Tracks of (id, split, annotations)."""
    return Corpus("songs", tuple(Track(*row) for row in rows))


def task_of(name, songs):
    """The task of a corpus."""
    return build_task(DatamoduleSettings(), songs, name)[1]


@pytest.mark.parametrize(
    ("files", "features"),
    [
        (["a/1.mmap", "b.npy"], True),
        (["a/1.mp3"], False),
        (["mels/shards/0.npy", "song.flac"], False),
        (["header.json", "song.flac"], True),
        ([], False),
    ],
)
def test_audio_with_a_store_beside_it_is_audio(tmp_path, files, features):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert holds_features(tmp_path) is features


def test_a_command_line_that_names_the_same_tracks():
    assert spell(DatamoduleSettings()) == ""
    assert spell(DatamoduleSettings(demo_size="tiny")) == " datamodule.demo_size=tiny"
    own = DatamoduleSettings(base_dir="my music", groundtruth="t.csv", columns={"tags": ["moods", "tags"]})
    assert shlex.split(spell(own)) == [
        "datamodule.base_dir=my music",
        "datamodule.groundtruth=t.csv",
        "datamodule.columns.tags=[moods,tags]",
    ]
    assert spell(DatamoduleSettings(columns={"tags": ["tags", "genre"]})) == ""
    taught = DatamoduleSettings(base_dir="music", groundtruth="teacher")
    assert spell(taught) == " datamodule.base_dir=music datamodule.groundtruth=teacher"
    assert spell(taught, annotated=True) == " datamodule.base_dir=music"
    demo = DatamoduleSettings(splits="stratified", task="genre", min_tracks=2)
    assert spell(demo) == " datamodule.min_tracks=2 datamodule.splits=stratified datamodule.task=genre"


def test_columns_that_are_pooled_as_tags_are_named(tmp_path):
    table = tmp_path / "tracks.csv"
    pooling = DatamoduleSettings(base_dir=str(tmp_path), columns={"tags": ["tags", "genre"]})
    table.write_text("path,tags,Genre\na.wav,slow,rock\n")
    assert pooling_note(pooling, read(pooling, table)).startswith("tags: columns tags and genre pooled (")
    alone = DatamoduleSettings(base_dir=str(tmp_path))
    assert pooling_note(alone, read(alone, table)) == ""
    table.write_text("path,tags\na.wav,slow\n")
    assert pooling_note(pooling, read(pooling, table)) == ""


def test_an_annotation_nobody_has_comes_with_what_can_be_asked_instead():
    songs = corpus(("a", "train", {"genre": "rock"}), ("b", "train", {"genre": "jazz"}))
    with pytest.raises(UserError, match=r"no track of songs has tags, there is genre.*probe\.tasks=\[genre\]"):
        build_task(DatamoduleSettings(), songs, "tagging")
    assert task_of("genre", songs).classes == ("jazz", "rock")


def test_tasks_about_values_are_measured_without_the_test_split():
    songs = corpus(
        ("a", "train", {"arousal": 2.0, "valence": 1.0, "tempo": 64.0, "key": "Am"}),
        ("b", "valid", {"arousal": 4.0, "valence": 5.0, "tempo": 256.0, "key": "A minor"}),
        ("c", "test", {"arousal": 90.0, "valence": 90.0, "tempo": 1.0}),
        ("d", "train", {"arousal": 90.0}),
    )
    assert task_of("emotion", songs).options == {"mean": [3.0, 3.0], "scale": [1.0, 2.0]}
    assert task_of("tempo_regression", songs).options == {"mean": [7.0], "scale": [1.0]}
    assert task_of("key", songs).options == {} == task_of("tempo", songs).options
    with pytest.raises(UserError, match=r"no track of songs has valence, there is arousal; name its column with"):
        task_of("emotion", corpus(("a", "train", {"arousal": 2.0})))


def test_a_network_for_keys_needs_keys():
    songs = corpus(("a", "test", {"key": "C"}), ("b", "test", {"key": "none"}))
    key = task_of("key", songs)
    assert len(fit_labels(DatamoduleSettings(), songs, key).annotated("key")) == 2
    assert len(fit_labels(DatamoduleSettings(unknown_labels="drop"), songs, key).annotated("key")) == 1
    with pytest.raises(UserError, match="trained for key, and no track of songs has any; there is genre"):
        fit_labels(DatamoduleSettings(), corpus(("a", "test", {"genre": "rock"})), key)


def test_only_rank_zero_speaks(capfd, monkeypatch):
    say("once")
    monkeypatch.setenv("LOCAL_RANK", "1")
    say("again")
    assert capfd.readouterr().err == "once\n"


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        (
            ["rock/1.wav", "jazz/2.wav"],
            {"labels": "none.txt", "merge_spellings": False},
            "labels=none.txt: no such",
        ),
        (["a/1.wav", "b/2.wav"], {"splits": "grouped"}, "has an artist"),
        (["artist/album/1.wav"], {}, "no annotations for"),
        (["rock/1.wav"], {"groundtruth": "folders"}, "1 folder with audio"),
        (["1.wav", "tracks.csv"], {}, "no column for the path"),
        (["1.wav"], {"groundtruth": "no.csv"}, r"groundtruth=no\.csv: no such table.*named config.*without _mtt"),
    ],
)
def test_mistakes_in_annotations_do_not_wait_for_features(tmp_path, files, settings, message):
    for file in files:
        (tmp_path / "music" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "music" / file).write_text("no audio")
    settings = DatamoduleSettings(base_dir=str(tmp_path / "music"), store_dir=str(tmp_path / "mels"), **settings)
    with pytest.raises((UserError, CorpusError), match=message):
        open_source(settings)
    assert not (tmp_path / "mels").exists()


def test_a_network_for_tags_and_a_corpus_of_genres_are_told_apart():
    songs = corpus(("a", "test", {"genre": "rock"}))
    tagging = task_of("tagging", corpus(("a", "train", {"tags": ("slow",)})))
    with pytest.raises(UserError, match="trained for tags, and no track of songs has any; there is genre"):
        fit_labels(DatamoduleSettings(), songs, tagging)


@pytest.mark.parametrize("settings", [{"groundtruth": "t.csv"}, {"groundtruth_val": "v.pk"}, {"jobs": 0}])
def test_settings_that_would_have_no_effect_are_refused(settings):
    with pytest.raises(ValidationError):
        DatamoduleSettings(**settings)


def test_a_column_that_may_be_what_a_task_lacks_is_named():
    songs = Corpus("songs", (Track("a", "train", {}),), columns=("path", "bpm"))
    with pytest.raises(UserError, match=r"'bpm' may be the tempo: datamodule\.columns\.tempo=bpm; or name its column"):
        build_task(DatamoduleSettings(), songs)


def test_values_that_cannot_be_are_left_out_of_what_is_measured():
    songs = corpus(*((f"{bpm}", "train", {"tempo": float(bpm)}) for bpm in (64, 256, 12800)))
    task = build_task(DatamoduleSettings(unknown_labels="drop"), songs, "tempo_regression")[1]
    assert task.options == {"mean": [7.0], "scale": [1.0]}


def test_leaving_out_everything_is_refused():
    songs = corpus(*((f"{n}", "train", {"tempo": 12800.0, "genre": "x"}) for n in range(3)))
    with pytest.raises(UserError, match=r"none of 3 tracks with tempo has .*probe\.tasks=\[genre\]"):
        build_task(DatamoduleSettings(unknown_labels="drop"), songs, "tempo")


def test_implausible_values_are_said(capsys):
    songs = corpus(("a", "train", {"tempo": 400.0}), ("b", "train", {"tempo": 120.0}))
    build_task(DatamoduleSettings(), songs, "tempo")
    assert capsys.readouterr().err == "1 track has a tempo outside of 30 to 285 BPM: a (train) = 400\n"


def test_a_corpus_that_was_not_prepared_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, words in (
        ("gtzan_tempo/audio", "gtzan_tempo DATA_DIR data/gtzan_tempo/audio --audio 22050"),
        ("mtt/audio_22050", "mtt DATA_DIR data/mtt/audio_22050 --audio 22050"),
        ("mine/mels", "CORPUS DATA_DIR data/mine/mels"),
    ):
        with pytest.raises(UserError, match=f"no such folder; python -m preprocess {words} makes it"):
            open_source(DatamoduleSettings(base_dir=f"data/{folder}"))
