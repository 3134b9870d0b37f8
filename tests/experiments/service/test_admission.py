"""Places for requests, the time that each has, and clients that leave, over real connections."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from experiments.service.admission import LEFT, Admission, Places
from experiments.service.problems import MEDIA_TYPE, ServiceError
from tests.experiments.service.exchanges import PATIENCE, answered, sent, serving

LONG = 600.0


class Slow:
    """An application that reads the body, and answers when it is let go."""

    def __init__(self) -> None:
        self.go, self.working, self.cancelled = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
        self.statuses: list[int] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        self.working.release()
        try:
            body = await request.body()
            while request.url.path != "/at-once" and not self.go.is_set():
                await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            self.cancelled.release()
            raise
        await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


@contextmanager
def slow_service(most: int = 8, seconds: float = LONG) -> Iterator[SimpleNamespace]:
    app, places, statuses = Slow(), Places(most), []
    admission = Admission(app, places, seconds)

    async def counted(scope, receive, send) -> None:
        async def noted(message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        await admission(scope, receive, noted)

    with serving(counted) as port:
        yield SimpleNamespace(app=app, places=places, port=port, statuses=statuses)


def test_one_request_more_than_there_are_places_is_sent_away_and_the_next_is_taken(eventually):
    with slow_service(most=2) as service:
        inside = [sent(service.port) for _ in range(2)]
        for _ in inside:
            assert service.app.working.acquire(timeout=PATIENCE)
        status, headers, body = answered(sent(service.port))
        assert status == 429
        assert headers["content-type"] == MEDIA_TYPE
        assert int(headers["retry-after"]) >= 1
        assert "2 requests" in json.loads(body)["detail"]
        assert not service.app.working.acquire(blocking=False)  # the application never saw it
        service.app.go.set()
        assert [answered(one)[0] for one in inside] == [200, 200]
        eventually(lambda: service.places.taken == 0)
        assert answered(sent(service.port))[0] == 200


def test_a_request_is_sent_away_before_its_body_is_read():
    with slow_service(most=1) as service:
        inside = sent(service.port)
        assert service.app.working.acquire(timeout=PATIENCE)
        with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100000000\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 429 ")
        service.app.go.set()
        assert answered(inside)[0] == 200


def test_what_sends_nothing_needs_no_place():
    with slow_service(most=1) as service:
        inside = sent(service.port)
        assert service.app.working.acquire(timeout=PATIENCE)
        assert answered(sent(service.port, b"", "/at-once", "GET"))[0] == 200
        service.app.go.set()
        assert answered(inside)[0] == 200


def test_a_client_that_leaves_ends_its_request(eventually):
    with slow_service(most=1) as service:
        client = sent(service.port)
        assert service.app.working.acquire(timeout=PATIENCE)
        client.close()
        assert service.app.cancelled.acquire(timeout=PATIENCE)
        eventually(lambda: service.places.taken == 0)
        eventually(lambda: service.statuses == [LEFT])
        service.app.go.set()
        assert answered(sent(service.port))[0] == 200


def test_an_answer_that_takes_too_long_is_given_up():
    with slow_service(seconds=1.5) as service:
        status, headers, body = answered(sent(service.port))
        assert status == 503
        assert int(headers["retry-after"]) >= 1
        assert "1.5 s" in json.loads(body)["detail"]
        assert service.app.cancelled.acquire(timeout=PATIENCE)
        service.app.go.set()
        assert answered(sent(service.port))[0] == 200


def test_an_upload_that_takes_too_long_is_given_up():
    with slow_service(seconds=0.3) as service:
        with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nhalf")
            answer = client.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert service.app.cancelled.acquire(timeout=PATIENCE)


def test_many_clients_of_which_some_leave_are_answered_and_no_place_is_lost(eventually):
    with slow_service(most=100) as service:
        clients = [sent(service.port, b"x" * number) for number in range(30)]
        for _ in clients:
            assert service.app.working.acquire(timeout=PATIENCE)
        for client in clients[::3]:
            client.close()
        for _ in clients[::3]:
            assert service.app.cancelled.acquire(timeout=PATIENCE)
        service.app.go.set()
        for number, client in enumerate(clients):
            if number % 3:
                assert answered(client)[::2] == (200, f"{number} bytes".encode())
        eventually(lambda: service.places.taken == 0)


def call(app, messages: list[dict], seconds: float = LONG) -> list[dict]:
    """What an application behind `Admission` sends, without a server."""
    answer: list[dict] = []

    async def receive() -> dict:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: dict) -> None:
        answer.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    asyncio.run(asyncio.wait_for(Admission(app, Places(1), seconds)(scope, receive, send), PATIENCE))
    return answer


BODY = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


def test_an_answer_that_has_begun_is_not_answered_again():
    async def app(scope, receive, send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    assert [message.get("status") for message in call(app, [BODY], 0.05)] == [200]


def test_the_end_of_the_connection_is_told_to_who_asks_for_it():
    async def app(scope, receive, send) -> None:
        assert await receive() == BODY
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert await receive() == GONE
        await send({"type": "http.response.body"})

    assert [message["type"] for message in call(app, [BODY, GONE])] == ["http.response.start", "http.response.body"]


def test_time_limits_of_the_application_are_its_own():
    async def app(scope, receive, send) -> None:
        raise TimeoutError("of a part")

    with pytest.raises(TimeoutError, match="of a part"):
        call(app, [])


@given(st.integers(1, 5), st.lists(st.booleans(), max_size=40))
def test_places_are_never_more_than_allowed_and_all_come_back(most, comes):
    places, inside = Places(most), []
    for one in comes:
        if one:
            place = places.one()
            if len(inside) < most:
                place.__enter__()
                inside.append(place)
            else:
                with pytest.raises(ServiceError) as refused:
                    place.__enter__()
                assert refused.value.status == 429
        elif inside:
            inside.pop().__exit__(None, None, None)
        assert places.taken == len(inside)


@given(st.lists(st.floats(0, 1e4), max_size=50))
def test_when_to_try_again_follows_the_durations_of_late(durations):
    places = Places(1)
    places._durations.extend(durations)
    recent = durations[-32:] or [0.0]
    assert max(1, min(recent)) <= places.retry_after + 1e-6
    assert places.retry_after <= max(1, max(recent) + 1)
