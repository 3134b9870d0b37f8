"""No secret remains, and what is none stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from datasets.storable import storable
from experiments.tracking.masking import HIDDEN, for_terminal, mask
from tests.datasets.test_storable import anything

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


def test_a_terminal_gets_neither_secrets_nor_commands():
    told = for_terminal("\x1b[2Jno answer from\nmongodb://me:hemiola99@host/runs")
    assert told == f"\\x1b[2Jno answer from\nmongodb://{HIDDEN}@host/runs"


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text",
    [
        "mongodb://" * 20_000,
        "http://" * 20_000 + '" "@',
        "://" * 50_000,
        "x://" + "a" * 100_000 + ":" + "b" * 100_000,
        "a" * 100_000 + " password=hemiola99",
        "secret" * 20_000 + " a=",
        "mongodb://?" + "token" * 40_000,
    ],
    ids=lambda text: text[:8],
)
def test_no_text_is_searched_for_minutes(text):
    assert "hemiola99" not in mask(text)
