"""The token: where it comes from, who bears it, and that nobody else learns of it."""

from __future__ import annotations

import secrets
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import ex_transfer
from experiments.errors import UserError
from experiments.service.problems import ServiceError
from experiments.service.tokens import check_token, token_of
from experiments.settings import ServiceSettings
from tests.experiments.service.raw_http import head, post, send

TOKEN = "zq7-0123456789abcdefXYZ"


def given_as(token: str | None) -> bytes | None:
    return token_of(ServiceSettings(token=token))


@pytest.fixture
def file(tmp_path):
    """What makes a file of a token, readable by its owner alone."""

    def write(content: bytes, mode: int = 0o600) -> str:
        path = tmp_path / "token"
        path.write_bytes(content)
        path.chmod(mode)
        return f"@{path}"

    return write


def test_it_is_given_or_in_a_file(file, capsys, monkeypatch, tmp_path):
    assert given_as(None) is None
    assert given_as(TOKEN) == TOKEN.encode()
    assert "list of processes; give service.token=@FILE" in capsys.readouterr().err
    assert given_as(file(f"  {TOKEN}\r\n".encode())) == TOKEN.encode()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert given_as("@~/token") == TOKEN.encode()
    assert capsys.readouterr().err == ""


def test_a_file_that_others_can_read_is_said(file, capsys):
    for mode in (0o640, 0o604, 0o620):
        name = file(TOKEN.encode(), mode)
        assert given_as(name) == TOKEN.encode()
        said = capsys.readouterr().err
        assert f"other users of this machine can read the token; chmod 600 {name[1:]}" in said
        assert TOKEN not in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"short-zq7", "a token of 9 characters can be guessed, at least 16 are needed"),
        (b"zq7 with spaces in between", "without spaces or new lines"),
        (b"zq7-0123456789\nabcdefXYZ", "without spaces or new lines"),
        ("zq7-0123456789äöüß".encode(), "signs of ASCII"),
        (b"\xff" * 20, "signs of ASCII"),
        (b"zq7" * 2000, "more than 4,096 bytes"),
    ],
)
def test_a_file_without_a_token(file, content, message):
    with pytest.raises(UserError, match=message) as error:
        given_as(file(content))
    assert "zq7" not in str(error.value)


def test_no_file(tmp_path):
    for path, why in ((tmp_path / "missing", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=rf"service\.token=@FILE, {path}: .*{why}"):
            given_as(f"@{path}")


@given(st.text(max_size=15).filter(lambda text: not text.startswith("@")))
def test_a_short_one_is_refused_and_not_repeated(text):
    with pytest.raises(ValidationError, match="a token has at least 16 characters") as error:
        ServiceSettings(token=text)
    assert len(text) < 4 or text not in error.value.errors(include_input=False)[0]["msg"]


@given(st.binary(max_size=60))
def test_none_but_the_token_is_taken(content):
    if content.removeprefix(b"Bearer ").strip() != TOKEN.encode():
        with pytest.raises(ServiceError) as error:
            check_token([content], TOKEN.encode())
        assert (error.value.status, error.value.headers) == (401, {"WWW-Authenticate": "Bearer"})
        with pytest.raises(ServiceError):
            check_token([b"Bearer " + content], TOKEN.encode())


def test_the_token_is_taken():
    for bearer in (b"Bearer", b"bearer", b"BEARER  "):
        check_token([bearer + b" " + TOKEN.encode()], TOKEN.encode())
    for several in ([], [f"Bearer {TOKEN}".encode()] * 2):
        with pytest.raises(ServiceError):
            check_token(several, TOKEN.encode())


def test_what_is_there_without_it(served, tagger):
    with served({"tags": tagger}, token=TOKEN) as service:
        health = send(service.port, head("GET", "/health", service.port, authorization=None))
        assert (health.status, health.body) == (200, b'{"status":"ok"}')
        for path in ("/v1/models", "/redoc", "/openapi.json", "/metrics", "/nothing", "/docs/oauth2-redirect"):
            assert send(service.port, head("GET", path, service.port, authorization=None)).status == 401
        for path in ("/", "/docs", "/main.js", "/style.css"):
            assert send(service.port, head("GET", path, service.port, authorization=None)).status == 200
        right = {"authorization": f"Bearer {TOKEN}"}
        schema = send(service.port, head("GET", "/openapi.json", service.port, **right)).json
        assert schema["security"] == [{"token": []}]
        assert schema["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
        assert schema["paths"]["/health"]["get"]["security"] == []
        assert send(service.port, post(service.port, b"", "/main.js", authorization=None)).status == 401


def test_it_is_neither_shown_nor_recorded(tmp_path, monkeypatch, capfd):
    """A command line with a token, whose run is recorded in files and fails."""
    token = secrets.token_hex(16)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTINATO_HOME", str(tmp_path / "home"))
    for command in ("print_config", "serve"):
        words = ["ex_transfer.py", command, "with", f"service.token={token}", "tracking.mongo=off"]
        with pytest.raises(SystemExit) if command == "serve" else nullcontext():
            ex_transfer.ex.run_commandline(words)
    shown = capfd.readouterr()
    assert "token" in shown.out
    assert "nothing to serve is named" in shown.err
    assert "config_updates" not in shown.err
    assert token not in shown.out + shown.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"service.token=" in path.read_bytes() for path in files if path.name == "journal.jsonl")
    assert not [path for path in files if token.encode() in path.read_bytes()]
