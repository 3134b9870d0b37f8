"""Any value becomes storable, what was changed is named, and no secret remains."""

from __future__ import annotations

import datetime
import enum
import json
import math
from pathlib import Path

import bson
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.storable import RECORD_LIMIT, is_nonfinite, metric_points, storable


class Colour(enum.Enum):
    RED = 1


NASTY = {
    "tensor": (torch.zeros(2, 3), {"shape": [2, 3], "dtype": "torch.float32", "min": 0.0, "mean": 0.0, "max": 0.0}),
    "scalar tensor": (torch.tensor(1.5), 1.5),
    "bfloat": (torch.tensor([0.5], dtype=torch.bfloat16), 0.5),
    "array": (np.arange(4), {"shape": [4], "dtype": "int64", "min": 0.0, "mean": 1.5, "max": 3.0}),
    "array of one": (np.array([[7]]), 7),
    "array of text": (np.array(["a", "b"]), {"shape": [2], "dtype": "<U1"}),
    "empty array": (np.zeros((0, 3)), {"shape": [0, 3], "dtype": "float64"}),
    "path": (Path("a") / "b", "a/b"),
    "enum": (Colour.RED, "RED"),
    "date": (datetime.datetime(2024, 5, 6, 7, 8), "2024-05-06T07:08:00"),
    "numpy dtype": (np.dtype("float32"), "float32"),
    "torch dtype": (torch.float16, "torch.float16"),
    "set": ({3, 1, 2}, [1, 2, 3]),
    "mixed set": (frozenset({"b", 2, "a"}), [2, "a", "b"]),
    "large integer": (2**63, str(2**63)),
    "nan": (math.nan, "nan"),
    "infinity": (-math.inf, "-inf"),
    "bytes": (b"abc", "<3 bytes>"),
    "integer key": ({1: "one"}, {"1": "one"}),
    "numpy key": ({np.int64(3): 4}, {"3": 4}),
    "dotted key": ({"a.b": 1}, {"a,b": 1}),
    "dollar key": ({"$set": 1}, {"@set": 1}),
    "empty key": ({"": 1}, {"(empty)": 1}),
    "colliding keys": ({1: "a", "1": "b"}, {"1": "a", "1~": "b"}),
    "half a surrogate": ("\ud800", "?"),
}


class Broken:
    def __repr__(self):
        raise RuntimeError("no text for me")


def test_nasty_values_are_replaced_and_named():
    for name, (value, expected) in NASTY.items():
        plain, changes = storable(value, "there")
        assert plain == expected, name
        assert bool(changes) == (name != "half a surrogate"), name
        assert all(path.startswith("there") for path in changes)


def test_plain_values_pass_unchanged_and_unnamed():
    value = {"a": [1, 2.5, None, True, "text"], "b": {"c": "é"}, "n": np.float64(0.5), "t": (1, 2)}
    plain, changes = storable(value)
    assert plain == {"a": [1, 2.5, None, True, "text"], "b": {"c": "é"}, "n": 0.5, "t": [1, 2]}
    assert changes == {}
    assert type(plain["n"]) is float


def test_objects_and_functions_become_text():
    plain, changes = storable({"f": lambda: 0, "object": object(), "broken": Broken()}, "config")
    assert "lambda" in plain["f"]
    assert plain["object"].startswith("<object object")
    assert plain["broken"].endswith("Broken>")
    assert set(changes) == {"config.f", "config.object", "config.broken"}


def test_text_depth_and_size_have_limits():
    text, said = storable("x" * 100_000, "t")
    assert len(text) < 66_000
    assert "cut" in said["t"]
    deep: list = []
    for _ in range(100):
        deep = [deep]
    assert "deeper" in next(iter(storable(deep)[1].values()))
    circle: dict = {}
    circle["self"] = circle
    assert len(json.dumps(storable(circle)[0])) < 2000
    many, said = storable({f"key{n}": "y" * 1000 for n in range(20_000)}, "info")
    assert len(json.dumps(many)) < 1.2 * RECORD_LIMIT
    assert "MB in one record" in said["info"]


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(anything)
def test_whatever_goes_in_comes_out_as_json_and_bson_and_stays(value):
    plain, _ = storable(value)
    again, changes = storable(json.loads(json.dumps(plain, allow_nan=False)))
    assert again == plain
    assert not changes
    bson.encode({"value": plain})


def test_metric_points_are_finite_numbers_at_plain_steps():
    points = [
        [torch.tensor(3), torch.tensor(0.5), 1.0],
        [np.int64(4), np.float32(0.25), 2.0],
        [5, True, 3.0],
        [6, 2**63, 4.0],
        [7, np.zeros(3), 5.0],
        [8, "high", 6.0],
        [9, math.nan, 7.0],
        [2.5, 1, 8.0],
    ]
    kept, changes = metric_points(points, "loss")
    assert kept == [[3, 0.5, 1.0], [4, 0.25, 2.0], [5, 1.0, 3.0], [6, 2.0**63, 4.0], [2.5, 1.0, 8.0]]
    assert all(type(value) is float for _, value, _ in kept)
    for word in ("Tensor", "ndarray left out", "str left out", "63 bits", "not finite"):
        assert word in changes["loss"]


@pytest.mark.parametrize("value", [math.nan, -math.inf, torch.tensor(math.inf), np.float32("nan")])
def test_what_is_not_finite(value):
    assert is_nonfinite(value)


@pytest.mark.parametrize("value", [0.5, 3, True, torch.tensor(1.0), "x", None])
def test_what_is_finite_or_no_number(value):
    assert not is_nonfinite(value)
