"""What every request passes, and what every response says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from experiments.service import connections, guards
from experiments.service.guards import Guards, is_public
from experiments.settings import ServiceSettings
from tests.experiments.service.raw_http import TOKEN, head, post, receive, send

RATE = 5  # requests a minute


@pytest.fixture(scope="module")
def service(served, tagger) -> Iterator:
    """A service with a token that takes few requests."""
    with served({"tags": tagger}, token=TOKEN, rate=RATE) as service:
        yield service


def test_a_client_that_asks_too_often_is_told_when_to_come_again(service):
    asked = [send(service.port, head("GET", "/v1/models", service.port)) for _ in range(RATE + 2)]
    assert [reply.status for reply in asked] == [200] * RATE + [429] * 2
    assert 1 <= int(asked[-1].headers["retry-after"]) <= 12
    assert asked[-1].headers["content-type"] == "application/problem+json"
    assert send(service.port, head("GET", "/v1/models", service.port, authorization=None)).status == 429  # no guessing
    for path in ("/health", "/", "/main.js"):
        for _ in range(RATE + 2):
            assert send(service.port, head("GET", path, service.port)).status == 200


def test_every_response_is_guarded(service):
    for request in (
        head("GET", "/health", service.port),
        head("GET", "/", service.port),
        head("GET", "/nothing", service.port, authorization=None),
        post(service.port, b"", origin="http://evil.example"),
        head("OPTIONS", "/", service.port),
    ):
        headers = send(service.port, request).headers
        for name, value in guards.HEADERS.items():
            expected = [value.decode(), "no-cache"] if name == b"cache-control" else [value.decode()]  # of the page
            assert headers[name.decode()] in expected
        assert not {"server", "access-control-allow-origin", "x-powered-by"} & set(headers)


def test_what_is_public():
    assert all(map(is_public, ("/", "/docs", "/health", "/main.js", "/style.css", "/icon.svg")))
    private = (
        "/v1/models",
        "/metrics",
        "/openapi.json",
        "/docs/",
        "//",
        "",
        "/v1/main.js",
        "/a/../main.js",
        "/main.js/",
    )
    assert not any(map(is_public, (*private, "/main.js\n", "/.js", "/MAIN.js", "/main.mjs", "/healthz")))


def test_one_connection_too_many_is_closed_and_the_others_are_not(service, monkeypatch):
    """With less than there are, so that a service is not brought to its limit of open files."""
    monkeypatch.setattr(connections.Connection, "connection_made", limited(connections.Connection.connection_made))
    with contextlib.ExitStack() as kept:
        first = kept.enter_context(socket.create_connection(("127.0.0.1", service.port), 20))
        first.sendall(b"GET /health HTTP/1.1\r\n")
        others = [kept.enter_context(socket.create_connection(("127.0.0.1", service.port), 20)) for _ in range(30)]
        assert receive(others[-1]).status == 0
        first.sendall(head("GET", "/health", service.port).partition(b"\r\n")[2])
        assert receive(first).status in (200, 503)
    assert send(service.port, head("GET", "/health", service.port)).status == 200


def limited(connection_made):
    """Connections of a server that takes 20 at a time."""

    def made(self, transport) -> None:
        usual, self.config.limit_concurrency = self.config.limit_concurrency, 20
        connection_made(self, transport)
        self.config.limit_concurrency = usual

    return made


def answered(chunks: int, headers: list[tuple[bytes, bytes]]) -> tuple[list[dict], int]:
    """What guards around an application that refuses without reading send, and how much of the body they received."""
    received, sent, messages = 0, [], []
    for number in range(chunks):
        messages.append({"type": "http.request", "body": b"a", "more_body": number < chunks - 1})

    async def receive() -> dict:
        nonlocal received
        if not messages:
            await asyncio.sleep(60)
        received += 1
        return messages.pop(0)

    async def send(message: dict) -> None:
        sent.append(message)

    async def refuse(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "query_string": b"", "client": None}
    scope["headers"] = [(b"host", b"localhost:8000"), *headers]
    asyncio.run(Guards(refuse, ServiceSettings(), 8000, None)(scope, receive, send))
    return sent, received


def test_an_answer_ends_when_its_client_has_sent_all(monkeypatch):
    sent, received = answered(7, [(b"content-length", b"7")])
    assert [(one.get("body"), one.get("more_body", False)) for one in sent[1:]] == [(b"no", True), (b"", False)]
    assert received == 7
    assert answered(3, [(b"transfer-encoding", b"chunked")])[1] == 3
    monkeypatch.setattr(guards, "DRAIN", 0.05)
    sent, _ = answered(0, [(b"content-length", b"7")])  # it never sends them
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_a_client_that_waits_to_be_asked_is_not_waited_for():
    sent, received = answered(0, [(b"content-length", b"7"), (b"expect", b"100-continue")])
    assert (b"connection", b"close") in sent[0]["headers"]
    assert (len(sent), received) == (2, 0)


def test_a_request_without_a_body_is_not_waited_for():
    assert answered(0, [])[1] == 0
    assert answered(0, [(b"content-length", b"0")])[1] == 0
