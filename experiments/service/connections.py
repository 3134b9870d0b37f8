"""Connections of the HTTP server: within what time a request's head has to come, and what is no HTTP at all.

uvicorn waits for the head of a request as long as the client likes, and for the next one on a connection too, once a
byte of it came. Many such connections would take all that the process may have.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from experiments.service import problems

HEAD_SECONDS = 15.0
HEAD_BYTES = 16 << 10
CONNECTIONS = 512  # more are closed at once; the usual limit of files that a process may open is 1,024


class Connection(H11Protocol):
    """A connection of one client."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for the first request; one connection too many is closed."""
        super().connection_made(transport)
        self.limit_concurrency = None  # uvicorn would answer in its own words
        if len(self.connections) > self.config.limit_concurrency:
            transport.abort()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop_watching()

    def handle_events(self) -> None:
        """Take what has come."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request."""
        self._refuse(400, "this is no request of HTTP/1.1, or its head is damaged or too long")

    def _should_upgrade(self) -> bool:
        return False  # to a WebSocket or HTTP/2: the header is passed over, as RFC 9110, section 7.8, has it

    def _watch(self) -> None:
        """Have the time run while no request is being answered."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or self.transport.is_closing():
            self._stop_watching()
        elif self._due is None:
            self._due = self.loop.call_later(HEAD_SECONDS, self._late)

    def _stop_watching(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _late(self) -> None:
        self._due = None
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(408, f"the head of the request did not come within {HEAD_SECONDS:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer without the application, and close the connection."""
        if self.conn.our_state is h11.IDLE or self.conn.our_state is h11.SEND_RESPONSE:
            response = problems.response(status, detail, {"Connection": "close"})
            self.transport.write(self.conn.send(h11.Response(status_code=status, headers=response.raw_headers)))
            self.transport.write(self.conn.send(h11.Data(data=bytes(response.body))))
            self.conn.send(h11.EndOfMessage())
        self.transport.close()
