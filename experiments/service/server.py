"""Listening and answering until a signal asks to stop, with the counts in the run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experiments.service import problems
from experiments.service.memory import give_back
from experiments.service.metrics import Counts
from experiments.tracking import RunHandle


class Ending:
    """An application whose requests are answered too when the server ends and waits for them no longer.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application answer, or say that there is no more time for it."""
        answering = False

        async def noted(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:  # which only an ending server does
            if not answering:
                response = problems.response(503, "the service is being stopped", {"Retry-After": "10"})
                await response(scope, receive, send)


class Server(uvicorn.Server):
    """A server that ends in order at Ctrl-C and SIGTERM, which is how a service ends; a second Ctrl-C does not wait."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no new requests, and end when those in flight are answered."""
        if not self.should_exit and self.server_state.tasks:
            os.write(2, b"requests in flight are answered first; a second Ctrl-C does not wait\n")
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def answer(server: Server, listener: socket.socket, counts: Counts, run: RunHandle, every: int) -> None:
    """Answer requests until the process is asked to stop.

    Args:
        server: What answers.
        listener: A socket that listens.
        counts: Of the requests; recorded in the run.
        run: This one.
        every: Seconds between two records.
    """
    asyncio.run(_answer(server, listener, counts, run, every))


async def _answer(server: Server, listener: socket.socket, counts: Counts, run: RunHandle, every: int) -> None:
    beside = [asyncio.create_task(_record(counts, run, every)), asyncio.create_task(give_back(counts))]
    try:
        await server.serve([listener])
    finally:
        for task in beside:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _record(counts: Counts, run: RunHandle, every: int) -> None:
    """The counts so far in the series `service/...` of the run, whose steps are seconds; the last ones at the end."""
    start = time.monotonic()
    try:
        while True:
            await asyncio.sleep(every)
            _write(counts, run, start)
    finally:
        _write(counts, run, start)


def _write(counts: Counts, run: RunHandle, start: float) -> None:
    for name, value in counts.summary().items():
        run.log_scalar(f"service/{name}", value, step=round(time.monotonic() - start))
    run.flush()
