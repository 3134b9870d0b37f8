"""Counts as people say them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.text import pluralize, printable, printable_lines, shown


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("track",), "0 tracks"),
        (1, ("track",), "1 track"),
        (1, ("class",), "1 class"),
        (2, ("class",), "2 classes"),
        (18_706, ("track is", "tracks are"), "18,706 tracks are"),
        (1, ("track is", "tracks are"), "1 track is"),
    ],
)
def test_a_noun_and_its_verb_agree_with_the_count(count, words, said):
    assert pluralize(count, *words) == said


@pytest.mark.parametrize(
    ("name", "shown_as"),
    [
        ("song.mp3", "song.mp3"),
        ("été 音楽.mp3", "été 音楽.mp3"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
        ("a\x9b2Jb", "a\\x9b2Jb"),
        ("a\rerror: b\nc\td", "a\\rerror: b\\nc\\td"),
        ("gpj.\u202e3pm", "gpj.\\u202e3pm"),
        ("a\udcffb", "a\\udcffb"),
        (Path("a\x00b"), "a\\x00b"),
    ],
)
def test_names_are_shown_without_moving_the_cursor(name: object, shown_as: str) -> None:
    assert printable(name) == shown_as


@given(st.text())
def test_whatever_is_shown_can_be_printed(text: str) -> None:
    assert printable(text).isprintable() or not text.isprintable()
    assert not set(map(chr, (*range(32), *range(127, 160)))) & set(printable(text))
    printable(text).encode()
    assert printable(printable(text)) == printable(text)
    assert printable_lines(text).count("\n") == text.count("\n")


def test_values_are_shown_short() -> None:
    for value in (1, "a" * 1000, 10**5000, [1] * 1000):
        assert len(shown(value)) <= 60


def test_a_deep_value_is_shown() -> None:
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a list"
