"""What makes two ids the same track."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.corpora.copies import SUFFIXES as OF_COPIES
from datasets.identity import AUDIO_SUFFIXES, SUFFIXES, composed, without_suffix
from preprocess.files import SUFFIXES as DECODED


@pytest.mark.parametrize(
    ("identity", "bare"),
    [
        ("rock/song.mp3", "rock/song"),
        ("St. Anger", "St. Anger"),
        ("St. Anger.wav", "St. Anger"),
        ("Live. Part one.FLAC", "Live. Part one"),
        ("Symphony No. 5", "Symphony No. 5"),
        ("No.5", "No.5"),
        ("v1.0/take 2.1", "v1.0/take 2.1"),
        ("mp3/a", "mp3/a"),
        ("album.mp3/.wav", "album.mp3/.wav"),
        ("a.mmap", "a"),
        ("a.mp3.npy", "a.mp3"),
        ("wav", "wav"),
        (".wav", ".wav"),
    ],
)
def test_only_what_ends_the_name_of_a_recording_is_a_suffix(identity, bare):
    assert without_suffix(identity) == bare


def test_what_is_decoded_or_found_in_copies_has_a_known_suffix():
    assert set(OF_COPIES) <= AUDIO_SUFFIXES
    assert DECODED <= AUDIO_SUFFIXES < SUFFIXES


@given(st.text())
def test_the_form_of_accents_makes_no_difference_and_ascii_stays(text):
    forms = {composed(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert len(forms) == 1
    assert composed(text) == text or not text.isascii()
