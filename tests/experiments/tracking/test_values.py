"""Any value becomes storable, what was changed is named, and no secret remains."""

from __future__ import annotations

import json
import math

import bson
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.tracking.values import HIDDEN, RECORD_LIMIT, mask, metric_points, split_finite, storable


class Broken:
    def __repr__(self):
        raise RuntimeError("no text for me")


def test_nasty_values_are_replaced_and_named(nasty):
    for name, (value, expected) in nasty.items():
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


def test_non_finite_points_are_counted_with_their_steps():
    points = [[1, 0.5, 0], [2, math.nan, 0], [3, torch.tensor(math.inf), 0], [4, "x", 0], [5, -math.inf, 0]]
    finite, bad = split_finite(points)
    assert [point[0] for point in finite] == [1, 4]
    assert (bad.count, bad.first, bad.last) == (3, 2, 5)


SECRETS = {
    "url": "cannot reach mongodb://me:hemiola99@host:27017/runs?x=1",
    "at in password": "mongodb://me:he@miola99@host/runs",
    "slash in password": "mongodb://me:he/miola99@host/runs",
    "space and quotes in password": "cannot reach mongodb://me:he'mi \"olahemiola99@host/runs today",
    "slash in user name": "mongodb://domain/me:hemiola99@host/runs",
    "two ats": "mongodb://me:hemi@hemiola99@host/runs",
    "cut off": "mongodb://me:hemiola99",
    "session token": "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:hemiola99%2F%2Bmiola99,X:1&w=1",
    "key password": "mongodb://h/r?tls=true&tlsCertificateKeyFilePassword=hemiola99 and miola99&w=1",
    "old key password": "mongodb://h/r?sslPEMKeyPassword=hemiola99",
    "proxy password": "mongodb://h/r?proxyPassword=a,miola99;miola99&proxyHost=p",
    "session token alone": "AWS_SESSION_TOKEN: hemiola99",
    "no scheme": {"mongo_url": "me:hemiola99@host/runs"},
    "no scheme, assigned": "tracking.mongo_url=me:hemiola99@host/runs",
    "space in any URL": "https://me:hemi hemiola99@host/x",
    "git token": "https://ghp_hemiola99@github.com/me/it.git",
    "git user and token": "https://me:hemiola99@github.com/me/it.git",
    "override": "tracking.api_key=hemiola99",
    "option": "--hub-token=hemiola99 with spaces",
    "assignment": "the call used password='hemiola99', and failed",
    "json": '{"access_token": "hemiola99"}',
    "header": "Authorization: Bearer hemiola99",
    "dict": {"wandb": {"api_key": "hemiola99"}, "hub_token": "hemiola99"},
    "numbers": {"password": 4711_4711},
    "list under key": {"secrets": ["hemiola99", {"x": "hemiola99"}]},
    "in a list": ["x", "mongodb://me:hemiola99@host/runs"],
    "in a key": {"mongodb://me:hemiola99@host": 1},
}


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_masked(name):
    masked = json.dumps(mask(SECRETS[name]))
    assert "miola99" not in masked
    assert "47114711" not in masked
    assert HIDDEN in masked


def test_a_secret_met_once_is_masked_everywhere_later():
    known: set[str] = set()
    mask({"hub_token": "hemiola99"}, known)
    assert mask("ValueError: hemiola99 is not valid", known) == f"ValueError: {HIDDEN} is not valid"


@pytest.mark.parametrize(
    "value",
    [
        "http://127.0.0.1:9000/run@2",
        "ssh://git@github.com/me/it.git",
        "self.cls_token = nn.Parameter(torch.zeros(1))",
        "3 tokens: 12, token: 7",
        {"n_tokens": 5, "cls_token": True, "tokens": "mean", "password": None, "use_secret": False},
        "mail me@example.org at 10:30",
        "mongodb://a:27017,b:27018/runs?replicaSet=x&w=majority",
        "mongodb://[::1]:27017/runs",
        "mongodb://%2Ftmp%2Fmongodb.sock/runs",
        {"mongo_url": "mongodb://host/runs"},
    ],
)
def test_what_is_no_secret_stays(value):
    assert mask(value) == value


@settings(max_examples=100, deadline=None)
@given(anything)
def test_masking_twice_changes_nothing_more(value):
    once = mask(storable(value)[0])
    assert mask(once) == once


def test_a_dependency_is_no_secret_whatever_its_name():
    dependencies = ["secretstorage==3.3.3", "tokenizers==0.21.0", "torch==2.11.0"]
    assert mask({"dependencies": dependencies, "note": "needs 3.3.3"}) == {
        "dependencies": dependencies,
        "note": "needs 3.3.3",
    }
