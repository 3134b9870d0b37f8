"""What cells say: lists in every notation, numbers, and what is neither."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.cells import listed, parse_number, parse_tags

WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1), min_size=1, max_size=4)


@given(WORDS)
def test_a_list_that_json_wrote_is_read(words):
    assert listed(json.dumps(words)) == tuple(words)
    assert listed(json.dumps(words, ensure_ascii=False)) == tuple(words)


@given(WORDS.map(lambda words: [word.replace("\\", "/") for word in words]))
def test_a_list_that_python_wrote_is_read(words):
    printable = [word for word in words if word.isprintable()] or ["a"]
    assert listed(str(printable)) == tuple(printable)


@pytest.mark.parametrize(
    ("cell", "tags"),
    [
        ("['rock', 'slow']", ("rock", "slow")),
        ('["rock", "slow; sad"]', ("rock", "slow; sad")),
        (str(np.array(["rock", "slow"])), ("rock", "slow")),
        ("('rock', 'slow')", ("rock", "slow")),
        ("['rock']", ("rock",)),
        ("[]", ()),
        ("rock|slow", ("rock", "slow")),
        ("rock; slow ;rock", ("rock", "slow")),
        ("rock\nslow", ("rock", "slow")),
        ("-", ()),
        ("[unknown]", ("[unknown]",)),
        ("(live)", ("(live)",)),
        ("it's; 'quoted'", ("it's", "'quoted'")),
        (("a;b", "c"), ("a;b", "c")),
    ],
)
def test_several_tags_of_a_cell(cell, tags):
    assert parse_tags(cell) == tags


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("[rock, slow]", "no quotes"),
        ("{rock,slow}", "no quotes"),
        ("['rock', slow]", "cannot be read"),
        ("['rock', ['slow']]", "cannot be read"),
        ('["rock", 3]', "something else"),
        ('{"rock": 0.9}', "cannot be read"),
        ("['rock'];slow", "a list and something else"),
        ('["' + "[" * 100_000 + '"]' * 2, "cannot be read"),
    ],
)
def test_what_is_half_a_list_is_refused(cell, said):
    with pytest.raises(ValueError, match=said):
        parse_tags(cell)


@pytest.mark.parametrize(
    ("cell", "number"), [("120", 120), ("-0.5", -0.5), ("1e2", 100), ("128,5", 128.5), ("128,25", 128.25), (".5", 0.5)]
)
def test_numbers(cell, number):
    assert parse_number(cell) == number


@pytest.mark.parametrize("cell", ["~125", "12,000", "1_000", "inf", "120 BPM", "", "1,2,3", "0x10", "1e999"])
def test_what_is_no_number(cell):
    with pytest.raises(ValueError, match=r"it is no number|its comma can part"):
        parse_number(cell)


def test_a_comma_parts_decimals_where_a_file_says_so():
    assert parse_number("12,000", decimal_commas=True) == 12
