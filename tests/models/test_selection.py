"""Which classes are given by each rule."""

from __future__ import annotations

import numpy as np
import pytest

from models.prediction import Prediction
from models.selection import Selection, fitted, one_class, same_for_all
from models.thresholds import USUAL, Thresholds

SCORES = np.array([[0.1, 0.6, 0.3], [0.2, 0.2, 0.1]])


def test_rules():
    by_tag = Selection("file", (0.1, 0.7, 0.3))
    assert by_tag.given(SCORES).tolist() == [[True, False, True], [True, False, False]]
    assert (by_tag.rule, by_tag.numbers(SCORES[0])) == ("thresholds", [2, 0])
    top = Selection("two", n=2)
    assert top.given(SCORES).tolist() == [[False, True, True], [True, True, False]]
    assert (top.rule, one_class().rule, one_class().numbers(SCORES[1])) == ("top", "argmax", [0])


def test_where_nothing_passes_the_most_probable_is_given():
    strict = same_for_all(0.9, 3, "strict")
    assert not strict.given(SCORES).any()
    assert strict.numbers(SCORES[0]) == [1]


def prediction(kind: str, selection=None) -> Prediction:
    return Prediction(["x", "y", "z"], kind, np.zeros(1), 3.0, SCORES[:1], SCORES[0], selection)


def test_a_prediction_has_the_tags_that_are_given():
    thresholds = Thresholds(("x", "y", "z"), (0.05, 0.7, 0.5), 0.3, "valid", 9)
    made = prediction("tags", fitted(thresholds, thresholds.tags))
    assert (made.selected, made.below_thresholds) == ({"x": 0.1}, False)
    assert made.thresholds == {"x": 0.05, "y": 0.7, "z": 0.5}
    assert (made.above(0.25), made.above(0.9)) == ({"y": 0.6, "z": 0.3}, {})
    usual = prediction("tags")
    assert (usual.thresholds, list(usual.selected)) == (dict.fromkeys("xyz", USUAL), ["y", "z"])
    none = prediction("tags", same_for_all(0.9, 3, "strict"))
    assert (none.selected, none.below_thresholds) == ({"y": 0.6}, True)


def test_of_classes_the_most_probable_is_given_and_values_are_not_selected():
    made = prediction("class")
    assert (made.selected, made.thresholds, made.below_thresholds) == ({"y": 0.6}, None, False)
    with pytest.raises(AttributeError, match=r"take \.values"):
        _ = prediction("values").selected
