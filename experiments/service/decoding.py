"""Files to rows in processes of their own, which a hostile file can end without ending the service.

The processes are forked from one that has imported all they need (`fork_server`), have limits of the system
(`decoder`), and hand rows over as memory (`packets`).
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from experiments.errors import UserError
from experiments.service.calls import described
from experiments.service.decoder import FAULT, DecodingLimits, track_of
from experiments.service.decoder_processes import DecoderProcess, DecoderSource, Killed
from experiments.service.problems import ServiceError
from preprocess.attempts import Decode
from preprocess.tracks import DecodedTrack

# A file whose decoder was killed from outside, which need not be its fault, is tried once more. Others may have been
# killed with that one, so the second try is by a new one.
TRIES = (False, True)
STARTS = 3  # of a decoder
LATER = {"Retry-After": "10"}


class Decoders:
    """Processes that decode files, one at a time each; requests wait for them in the order in which they came.

    Args:
        processes: How many.
        limits: Of every file.
        decodes: What will be asked for, functions of `calls.described`: it is imported now, and once for all. Anything
            else is imported by every process that meets it.

    Raises:
        UserError: This is not Linux.
    """

    def __init__(self, processes: int, limits: DecodingLimits, decodes: Iterable[Decode] = ()) -> None:
        if sys.platform != "linux":
            raise UserError("files are decoded in processes with limits that only Linux has: serve from there")
        self._limits, self._processes = limits, processes
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()  # one each
        self._source = DecoderSource(limits, sorted({described(decode) for decode in decodes}))
        self._idle = [self._source.new() for _ in range(processes)]

    async def decode(self, path: Path, decode: Decode) -> DecodedTrack | str:
        """The rows of a file, or the reason why there are none.

        Cancelling ends the work.

        Raises:
            ServiceError: The file takes too long or too much memory, or has ended the process; or no process lives long
                enough to decode it.
        """
        request = {"path": str(path), "decode": described(decode)}
        turns = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._processes))
        async with turns:
            for fresh in TRIES:
                if self._source.closed:
                    raise ServiceError(503, "the service is being stopped", LATER)
                with contextlib.suppress(Killed):
                    return await self._outcome(request, fresh)
        raise ServiceError(
            503, "the process that decoded this file was killed from outside, twice: try again later", LATER
        )

    async def _outcome(self, request: dict[str, Any], fresh: bool) -> DecodedTrack | str:
        decoder, last = await self._ready(fresh), True
        try:
            async with asyncio.timeout(self._limits.timeout):
                about, content = await decoder.ask(request)
                outcome = _outcome_of(about, content, self._limits)
                last = about.get("last", True)
        except TimeoutError:
            raise _took(f"{self._limits.timeout:g} s (service.timeout)") from None
        except (ValueError, LookupError, TypeError):
            raise ServiceError(422, "decoding this file made its decoder answer with nonsense") from None
        finally:
            self._put_back(decoder, usable=not last)
        return outcome

    async def _ready(self, fresh: bool) -> DecoderProcess:
        """A decoder that waits for work; those that were killed while they waited are replaced.

        Raises:
            ServiceError: None can be had.
        """
        decoder = self._idle.pop(0) if self._idle else self._source.new()
        if fresh:
            decoder.close()
            decoder = self._source.new()
        for _ in range(STARTS):
            try:
                await decoder.ready()
                return decoder
            except Killed:
                decoder.close()
                decoder = self._source.new()
            except asyncio.CancelledError:
                self._put_back(decoder, usable=True)
                raise
        self._put_back(decoder, usable=True)
        raise ServiceError(503, "no process that decodes files starts: the log of the service says why", LATER)

    def _put_back(self, decoder: DecoderProcess, usable: bool) -> None:
        """Keep a decoder for the next file, or one in its place."""
        if not usable or self._source.closed:
            decoder.close()
        if not self._source.closed:
            self._idle.append(decoder if usable else self._source.new())

    def close(self) -> None:
        """End the processes."""
        self._source.close()
        for decoder in self._idle:
            decoder.close()


def _outcome_of(about: dict[str, Any], content: mmap.mmap | None, limits: DecodingLimits) -> DecodedTrack | str:
    """The rows, or the reason, in the answer of a decoder.

    Raises:
        ServiceError: The file took too much, or has ended the decoder.
        RuntimeError: A fault of ours has ended it.
        ValueError, LookupError, TypeError: The answer makes no sense.
    """
    if "reason" in about:
        return str(about["reason"])
    if about.get("exceeded") == "memory":
        raise _took(f"{limits.megabytes:,} MB of memory (service.decoder_mb)")
    if "ended" not in about:
        return track_of(about, content)
    status = int(about["ended"])
    if status == FAULT:
        raise RuntimeError("a decoder failed; its traceback is in the log")
    if status == -signal.SIGXCPU:
        raise _took(f"{limits.timeout:g} s of processor time (service.timeout)")
    how = f"signal {-status}, {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    raise ServiceError(422, f"decoding this file ended the decoder ({how}): the file is damaged, or made to do so")


def _took(what: str) -> ServiceError:
    return ServiceError(422, f"decoding this file took more than {what}")
