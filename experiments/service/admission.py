"""How many requests are worked on at a time, how long each may take, and what becomes of those whose client left."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experiments.service import problems
from experiments.service.problems import ServiceError

RECENT = 32  # requests whose duration says how long the next will take
LEFT = 499  # status of requests whose client left; nobody sees it but the counts


class Places:
    """Places for requests, those that wait included.

    Args:
        most: At a time.

    Attributes:
        taken: By requests now.
    """

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0
        self._durations: deque[float] = deque(maxlen=RECENT)

    @property
    def retry_after(self) -> int:
        """Seconds in which about all requests of now are through, at least 1."""
        if not self._durations:
            return 1
        return max(1, math.ceil(sum(self._durations) / len(self._durations)))

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """A place.

        Raises:
            ServiceError: All are taken.
        """
        if self.taken >= self.most:
            raise ServiceError(
                429,
                f"{self.taken} requests are being worked on, and no more are taken: try again later",
                {"Retry-After": str(self.retry_after)},
            )
        self.taken += 1
        start = time.monotonic()
        try:
            yield
        finally:
            self.taken -= 1
            self._durations.append(time.monotonic() - start)


class Admission:
    """An application that works on so many uploads at a time, and on each so long.

    A request that takes too long, or whose client left, is cancelled.

    Args:
        app: The application.
        places: For requests that send something (POST).
        seconds: That a request may take, from its headers to the end of its answer.
    """

    def __init__(self, app: ASGIApp, places: Places, seconds: float) -> None:
        self._app, self._places, self._seconds = app, places, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or say why not."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            with self._places.one():
                await self._answered(scope, receive, send)
        except ServiceError as error:
            await problems.response(error.status, error.detail, error.headers)(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application answer.

        Raises:
            ServiceError: In time it did not even begin to.
        """
        try:
            async with asyncio.timeout(self._seconds) as limit:
                exchange = _Exchange(receive, send, limit)
                try:
                    await self._app(scope, exchange.receive, exchange.send)
                finally:
                    await exchange.end()
        except TimeoutError:
            if not limit.expired():
                raise
            if exchange.left:
                await send({"type": "http.response.start", "status": LEFT, "headers": []})
                await send({"type": "http.response.body"})
            elif not exchange.answering:
                raise self._too_long(exchange) from None

    def _too_long(self, exchange: _Exchange) -> ServiceError:
        if not exchange.received:
            return ServiceError(
                408,
                f"the upload was not complete after {self._seconds:g} s (service.timeout): send a smaller file, or "
                "use a faster network",
            )
        return ServiceError(
            503,
            f"the answer was not ready after {self._seconds:g} s (service.timeout): try again when less is going on, "
            "or send a shorter file",
            {"Retry-After": str(self._places.retry_after)},
        )


class _Exchange:
    """A request and its response.

    Attributes:
        received: Whether the request is complete.
        answering: Whether the response has begun.
        left: Whether the client has closed the connection.
    """

    def __init__(self, receive: Receive, send: Send, limit: asyncio.Timeout) -> None:
        self.received = self.answering = self.left = False
        self._receive, self._send, self._limit = receive, send, limit
        self._watch: asyncio.Task[Message] | None = None

    async def receive(self) -> Message:
        """The next part of the request; behind the last one there is only the end of the connection."""
        if self._watch:
            return await asyncio.shield(self._watch)
        message = await self._receive()
        self.left = message["type"] == "http.disconnect"
        if not self.left and not message.get("more_body", False):
            self.received = True
            self._watch = asyncio.create_task(self._watched())
        return message

    async def send(self, message: Message) -> None:
        """A part of the response."""
        self.answering = True
        await self._send(message)

    async def end(self) -> None:
        """Watch no longer."""
        if self._watch:
            self._watch.cancel()
            await asyncio.wait([self._watch])

    async def _watched(self) -> Message:
        """Wait for the end of the connection; if it comes before an answer, the request is cancelled."""
        while (message := await self._receive())["type"] != "http.disconnect":
            pass
        self.left = not self.answering
        if self.left and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())
        return message
