"""Listening and answering until a signal asks to stop, with the counts in the run."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from types import FrameType

import uvicorn

from experiments.service.metrics import Counts
from experiments.tracking import RunHandle


class Server(uvicorn.Server):
    """A server that ends in order at Ctrl-C and SIGTERM, which is how a service ends; a second Ctrl-C does not wait."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no new requests, and end when those in flight are answered."""
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
    recording = asyncio.create_task(_record(counts, run, every))
    try:
        await server.serve([listener])
    finally:
        recording.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await recording


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
