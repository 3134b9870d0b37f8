"""Splits of tracks without labels: of a table, of folders, or by the rule that the settings ask for."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

from hypothesis import given as drawn
from hypothesis import strategies as some

from datasets.splits import hashed_split
from experiments.settings import DatamoduleSettings
from experiments.tracks.unlabelled import UNSEEN, split_by_hash, split_tracks


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


SHARES = some.sampled_from([UNSEEN, (0.7, 0.3, 0.0), (0.1, 0.1, 0.8), (0.98, 0.02, 0.0), (0.5, 0.0, 0.5)])


@drawn(ids=some.lists(some.text(max_size=3), max_size=30, unique=True), shares=SHARES)
def test_of_four_tracks_two_are_for_validation_in_any_order(ids, shares):
    found, plain = split_by_hash(ids, shares), {identity: hashed_split(identity, shares) for identity in ids}
    counts, before = Counter(found.values()), Counter(plain.values())
    assert split_by_hash(ids[::-1], shares) == found
    if len(ids) < 4 or shares[1] == 0 or before["valid"] >= 2:
        assert found == plain
    else:
        assert counts["valid"] == 2
        assert counts["train"] >= min(before["train"], 2)
        assert all(found[identity] == "valid" for identity in ids if plain[identity] == "valid")


def test_a_folder_of_twelve_clips_can_be_trained_on(tmp_path):
    ids = [f"clip{number:02d}.wav" for number in range(12)]
    assert Counter(splits(tmp_path, ids).values()) == {"train": 10, "valid": 2}
