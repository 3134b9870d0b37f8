"""Splits of tracks without labels: of a table, of folders, or by the rule that the settings ask for."""

from __future__ import annotations

from types import SimpleNamespace

from datasets.splits import hashed_split
from experiments.settings import DatamoduleSettings
from experiments.tracks.unlabelled import UNSEEN, split_tracks


def splits(folder, ids, **given):
    source = SimpleNamespace(base_dir=folder, features=SimpleNamespace(ids=ids))
    return split_tracks(DatamoduleSettings(base_dir=str(folder), **given), source)


def test_folders_are_splits_unless_the_rule_is_asked_for(tmp_path):
    ids = [f"{folder}/{number}.wav" for folder in ("train", "valid") for number in range(30)]
    assert splits(tmp_path, ids) == {identity: identity.split("/")[0] for identity in ids}
    assert splits(tmp_path, ids, splits="hashed") == {identity: hashed_split(identity, UNSEEN) for identity in ids}


def test_a_table_comes_before_both_and_what_it_does_not_have_is_trained_on(tmp_path):
    (tmp_path / "tracks.csv").write_text("path,split\ntrain/0.wav,valid\ntrain/1.wav,test\n")
    ids = [f"train/{number}.wav" for number in range(3)]
    assert splits(tmp_path, ids) == dict(zip(ids, ("valid", "test", "train"), strict=True))


def test_shares_are_those_of_the_settings(tmp_path):
    ids = [f"{number}.wav" for number in range(400)]
    usual, halved = (list(splits(tmp_path, ids, **given).values()) for given in ({}, {"split_shares": [0.5, 0.5, 0.0]}))
    assert (usual.count("test"), halved.count("test")) == (0, 0)
    assert usual.count("valid") < 80 < 160 < halved.count("valid")
