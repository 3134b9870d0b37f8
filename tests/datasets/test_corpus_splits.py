"""Corpora split by a rule, with the clips of a song on one side."""

from __future__ import annotations

import pytest

from datasets.corpus import Corpus, CorpusError, Track
from datasets.corpus_splits import fills_all, split_corpus


def test_groups_need_an_artist_and_tracks_without_one_stand_alone():
    mute = Corpus("mute", tuple(Track(f"{n}", "train", {}) for n in range(20)), "hashed", ("path", "by"))
    with pytest.raises(CorpusError, match=r"no track of mute has an artist; .*columns\.artist \(there is path, by\)"):
        split_corpus(mute, "grouped", artist_column="by")
    one = Corpus("one", (*mute.tracks, Track("x", "train", {"artist": "Ella"})), "hashed")
    made = split_corpus(one, "grouped")
    assert {track.split for track in made} == {"train", "valid", "test"}


@pytest.mark.parametrize("rule", ["hashed", "stratified", "grouped"])
def test_clips_of_a_song_come_to_one_split_by_every_rule(rule):
    by = {"artist": "Ella"} if rule == "grouped" else {}
    clips = tuple(
        Track(
            f"{n:03d}", "train", {"genre": ("a", "b")[n // 4 % 2], "group": f"song {n // 4}", **(by if n < 4 else {})}
        )
        for n in range(160)
    )
    made = split_corpus(Corpus("clips", clips, "hashed"), rule)
    sides = {(track.annotations["group"], track.split) for track in made}
    assert len(sides) == 40
    assert {split for _, split in sides} == {"train", "valid", "test"}


def test_a_rule_fills_all_splits_or_not():
    few = Corpus("few", tuple(Track(f"{n}", "train", {"genre": "x"}) for n in range(12)), "hashed")
    assert fills_all(few, "stratified")
    assert fills_all(few, "stratified", (1.0, 0.0, 0.0))
    assert not fills_all(Corpus("two", few.tracks[:2], "hashed"), "stratified")
