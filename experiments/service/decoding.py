"""Files to rows in processes of their own, which a hostile file can end without ending the service."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from experiments.service.problems import ServiceError
from preprocess.attempts import Decode, attempt
from preprocess.files import Candidate
from preprocess.quiet import quiet_libraries
from preprocess.tracks import DecodedTrack


@dataclass(frozen=True)
class DecodingLimits:
    """What the decoding of a file may take.

    Attributes:
        seconds: Of audio.
        timeout: Seconds.
        megabytes: Of memory.
    """

    seconds: float
    timeout: float
    megabytes: int


class Decoders:
    """Processes that decode files.

    Args:
        processes: How many.
        limits: Of every file.
    """

    def __init__(self, processes: int, limits: DecodingLimits) -> None:
        self._limits = limits
        self._pool = ProcessPoolExecutor(processes, get_context("spawn"))

    async def decode(self, path: Path, decode: Decode) -> DecodedTrack | str:
        """The rows of a file, or the reason why there are none.

        Cancelling ends the work.

        Raises:
            ServiceError: The file takes too long or too much memory.
        """
        loop = asyncio.get_running_loop()
        try:
            outcome = await asyncio.wait_for(
                loop.run_in_executor(self._pool, _attempt, path, decode), self._limits.timeout
            )
        except TimeoutError:
            raise ServiceError(422, f"decoding takes longer than {self._limits.timeout:g} s") from None
        return outcome if isinstance(outcome, str) else outcome[0]

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)


def _attempt(path: Path, decode: Decode) -> list[DecodedTrack] | str:
    with quiet_libraries():
        return attempt(Candidate(path.name, path), decode, os.getppid())[1]
