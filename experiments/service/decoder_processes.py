"""Decoders as the service sees them: asked for at the fork server, given work, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from experiments.service import packets
from experiments.service.decoder import DecodingLimits

ENDING = 5.0  # seconds that a fork server has to end
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Killed(Exception):
    """A decoder was killed from outside, or with the process that it was forked from."""


class DecoderProcess:
    """A process that decodes a file at a time.

    Args:
        connection: To it.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection, self._is_ready = connection, False

    async def ready(self) -> None:
        """Wait until it has started.

        Raises:
            Killed: It has ended meanwhile, or says what it was not asked for.
        """
        if not self._is_ready:
            await self._next()
            self._is_ready = True
        with contextlib.suppress(BlockingIOError):
            with contextlib.suppress(ValueError):
                self._received()
            raise Killed

    async def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], mmap.mmap | None]:
        """What it answers; `ended`, its exit status, where the file has ended it.

        Raises:
            Killed: As the class says.
            ValueError: The answer is no message.
        """
        try:
            packets.send(self._connection, request)
        except OSError:
            raise Killed from None
        return await self._next()

    async def _next(self) -> tuple[dict[str, Any], mmap.mmap | None]:
        await _readable(self._connection)
        return self._received()

    def _received(self) -> tuple[dict[str, Any], mmap.mmap | None]:
        try:
            about, content = packets.receive(self._connection)
        except packets.Ended:
            raise Killed from None
        if about.get("ended") == -signal.SIGKILL:
            raise Killed
        return about, content

    def close(self) -> None:
        """End it, with all that it has started."""
        self._connection.close()


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()
    loop.add_reader(connection, lambda: arrived.done() or arrived.set_result(None))
    try:
        await arrived
    finally:
        loop.remove_reader(connection)


class DecoderSource:
    """Where decoders come from: a fork server, which is started again if it was killed.

    Args:
        limits: Of every file.
        calls: `calls.described` of what will be asked for.
    """

    def __init__(self, limits: DecodingLimits, calls: Sequence[str]) -> None:
        self._arguments = [json.dumps(asdict(limits)), json.dumps(list(calls))]
        self.closed = False
        self._start()

    def new(self) -> DecoderProcess:
        """A decoder, ready some time later.

        Raises:
            Killed: The source is closed.
        """
        if self.closed:
            raise Killed
        ours, theirs = packets.pair()
        with theirs:
            if not self._handed_over(theirs):
                self._process.kill()
                self._end()
                self._start()
                self._handed_over(theirs)
        return DecoderProcess(ours)

    def close(self) -> None:
        """End the fork server and all its decoders."""
        if not self.closed:
            self.closed = True
            self._end()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        command = [sys.executable, "-P", "-m", "experiments.service.fork_server", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                [*command, *self._arguments],
                env=os.environ | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the service, which answers what it has begun
            )

    def _handed_over(self, end: socket.socket) -> bool:
        try:
            socket.send_fds(self._control, [b"+"], [end.fileno()])
        except OSError:  # it is gone, or does nothing any more
            return False
        return True

    def _end(self) -> None:
        self._control.close()
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
