"""From the settings of a data module to tracks: what is taken for what, and how a command line names it again."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from pydantic import ValidationError

from datasets.corpus import Corpus, CorpusError, Track
from experiments.data import Examples, _holds_features, build_task, examples, need, say, spell
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings


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
    assert _holds_features(tmp_path) is features


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


def test_an_annotation_nobody_has_comes_with_what_can_be_asked_instead():
    songs = corpus(("a", "train", {"genre": "rock"}), ("b", "train", {"genre": "jazz"}))
    with pytest.raises(UserError, match=r"no track of songs has tags, there is genre.*probe\.tasks=\[genre\]"):
        build_task(DatamoduleSettings(), songs, "tagging")
    assert task_of("genre", songs).classes == ("jazz", "rock")


def test_a_label_the_network_does_not_know_is_named_with_its_track():
    songs = corpus(("a", "test", {"tags": ("loud",)}))
    task = task_of("tagging", corpus(("a", "train", {"tags": ("slow",)})))
    with pytest.raises(UserError, match=r"a \(test\): unknown tag 'loud'"):
        examples(task, songs, {"a": "a"})


def test_tracks_without_the_annotation_are_left_out():
    songs = corpus(("a", "train", {"tags": ("slow",)}), ("b", "train", {}), ("c", "test", {"tags": ()}))
    made = examples(task_of("tagging", songs), songs, {name: f"{name}.ogg" for name in "abc"})
    assert {split: of.stored for split, of in made.items()} == {"train": ("a.ogg",), "valid": (), "test": ("c.ogg",)}


def test_a_training_split_without_a_tag_is_refused():
    untagged = Examples(("a",), ("a",), np.zeros((1, 3), np.float32))
    need({"valid": untagged}, "valid")
    with pytest.raises(CorpusError, match="none of 1 training tracks has a tag"):
        need({"train": untagged}, "train")


def test_only_rank_zero_speaks(capfd, monkeypatch):
    say("once")
    monkeypatch.setenv("LOCAL_RANK", "1")
    say("again")
    assert capfd.readouterr().err == "once\n"


@pytest.mark.parametrize("settings", [{"groundtruth": "t.csv"}, {"groundtruth_val": "v.pk"}, {"jobs": 0}])
def test_settings_that_would_have_no_effect_are_refused(settings):
    with pytest.raises(ValidationError):
        DatamoduleSettings(**settings)
