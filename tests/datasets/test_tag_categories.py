"""Categories of tags."""

from __future__ import annotations

from datasets.corpora.magnatagatune import CATEGORIES, TAGS
from datasets.tag_categories import tag_categories


def test_every_tag_of_magnatagatune_has_one_category():
    assert sorted(tag for tags in CATEGORIES.values() for tag in tags) == sorted(TAGS)
    found = tag_categories(TAGS)
    assert sorted(number for numbers in found.values() for number in numbers) == list(range(50))
    assert [TAGS[number] for number in found["instrument"]][:3] == ["guitar", "strings", "drums"]


def test_tags_of_jamendo_say_it_themselves():
    tags = ["genre---rock", "instrument---piano", "mood/theme---happy", "genre---pop"]
    assert tag_categories(tags) == {"genre": [0, 3], "instrument": [1], "mood_theme": [2]}


def test_other_tags_have_none():
    assert tag_categories(["rock", "piano", "something else"]) == {}
    assert tag_categories(["Rock---Punk", "Jazz---Bebop"]) == {}
    assert tag_categories(["genre---rock", "genre---pop"]) == {}
