"""One name for equal parameters."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fingerprint import fingerprint

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_is_the_hash_of_the_canonical_json():
    expected = hashlib.sha256(b'{"a":[1,2.5],"b":"x"}').hexdigest()[:16]
    assert fingerprint({"b": "x", "a": (1, 2.5)}) == expected


@given(st.dictionaries(st.text(), VALUES, max_size=5), st.randoms(use_true_random=False))
def test_does_not_depend_on_the_order_of_keys(parameters: dict, rng: random.Random):
    items = list(parameters.items())
    rng.shuffle(items)
    assert fingerprint(dict(items)) == fingerprint(parameters)


@pytest.mark.parametrize("value", [np.zeros(2), float("nan"), {1, 2}, np.float32(1)])
def test_refuses_what_has_no_json_form(value: object):
    with pytest.raises(ValueError, match="no JSON form"):
        fingerprint({"value": value})
