"""How labelled and stored tracks find each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.corpus import CorpusError
from datasets.matching import match_tracks


def test_ids_match_exactly_then_without_suffix():
    matched = match_tracks(["a.ogg", "b", "gone.wav"], ["a.ogg", "b.mp3", "d.ogg"])
    assert matched.stored == {"a.ogg": "a.ogg", "b": "b.mp3"}
    assert matched.without_audio == ("gone.wav",)
    assert matched.without_labels == ("d.ogg",)


def test_ids_match_by_name_where_the_table_is_of_another_folder():
    matched = match_tracks(["clips/c.ogg", "clips/d.wav"], ["c.ogg", "music/d.ogg"])
    assert matched.stored == {"clips/c.ogg": "c.ogg", "clips/d.wav": "music/d.ogg"}


@pytest.mark.parametrize("start", ["albums", "/data/music", "../x"])
def test_a_table_of_another_folder_may_repeat_names(start):
    stored = ["rock/one/01.ogg", "rock/two/01.ogg", "jazz/one/01.ogg"]
    labelled = [f"{start}/{name}" for name in stored]
    assert match_tracks([*labelled, f"{start}/jazz/two/01.ogg"], stored).stored == dict(
        zip(labelled, stored, strict=True)
    )


def test_a_missing_track_does_not_get_the_audio_of_another_with_its_name():
    matched = match_tracks(["one/01.ogg", "two/01.ogg", "two/02.ogg"], ["one/01.ogg", "three/02.ogg", "three/01.ogg"])
    assert matched.stored == {"one/01.ogg": "one/01.ogg"}


def test_accents_match_however_they_are_composed():
    assert match_tracks(["caf\u00e9.ogg"], ["cafe\u0301.ogg"]).stored == {"caf\u00e9.ogg": "cafe\u0301.ogg"}


def test_two_files_whose_names_differ_in_the_form_of_accents_stay_two():
    names = ["caf\u00e9.ogg", "cafe\u0301.ogg"]
    assert match_tracks(names, names).stored == {name: name for name in names}


def test_text_behind_a_dot_of_a_title_is_no_suffix():
    stored = ["Live. Part one.wav", "Live.wav", "Symphony No. 5.wav", "Symphony No. 9.wav"]
    matched = match_tracks(["Live. Part one", "Symphony No. 5", "Symphony No. 9"], stored)
    assert matched.stored == {name: f"{name}.wav" for name in ("Live. Part one", "Symphony No. 5", "Symphony No. 9")}
    assert matched.without_labels == ("Live.wav",)
    elsewhere = match_tracks(["x/Symphony No. 5", "x/Symphony No. 9.MP3"], [f"music/{name}" for name in stored])
    assert elsewhere.stored == {
        "x/Symphony No. 5": "music/Symphony No. 5.wav",
        "x/Symphony No. 9.MP3": "music/Symphony No. 9.wav",
    }


def test_paths_that_differ_in_case_only_are_paired_and_told():
    matched = match_tracks(["House/1.wav", "techno/1.WAV", "House/2"], ["house/1.wav", "techno/1.wav", "house/2.wav"])
    assert matched.stored == {"House/1.wav": "house/1.wav", "techno/1.WAV": "techno/1.wav", "House/2": "house/2.wav"}
    assert matched.other_case == ("House/1.wav", "House/2")
    assert match_tracks(["x/A/1.wav"], ["a/1.wav"]).other_case == ("x/A/1.wav",)


def test_case_pairs_nothing_that_it_cannot_tell_apart():
    matched = match_tracks(["a.wav", "B.wav"], ["a.wav", "b.wav", "b.WAV", "A.wav"])
    assert (matched.stored, matched.other_case) == ({"a.wav": "a.wav"}, ())


def test_an_ambiguous_name_does_not_match():
    matched = match_tracks(["x.ogg", "1/y.ogg", "2/y.ogg"], ["x.ogg", "y.ogg"])
    assert matched.stored == {"x.ogg": "x.ogg"}


def test_nothing_in_common_is_an_error_that_shows_both():
    with pytest.raises(CorpusError, match=r"'a\.ogg' is labelled, 'b\.ogg' is stored"):
        match_tracks(["a.ogg"], ["b.ogg"])


@given(st.lists(st.from_regex(r"[a-z]{1,4}/[a-z]{1,4}\.(ogg|mp3)", fullmatch=True), unique=True, min_size=1))
def test_equal_ids_always_match_each_other(ids):
    assert match_tracks(ids, ids).stored == {identity: identity for identity in ids}
