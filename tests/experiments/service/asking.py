"""Decoders asked from tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.service.decoding import Decoders
from experiments.service.problems import ServiceError
from preprocess.attempts import Decode
from preprocess.tracks import DecodedTrack

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"
PATIENCE = 120  # seconds
Within = Callable[..., Decoders]
Noted = Callable[[object], Path]


def decoded(decoders: Decoders, path: Path, decode: Decode) -> DecodedTrack | str:
    return asyncio.run(decoders.decode(path, decode))


def refusal(decoders: Decoders, path: Path, decode: Decode) -> ServiceError:
    with pytest.raises(ServiceError) as refused:
        decoded(decoders, path, decode)
    return refused.value


async def started(path: Path, processes: int = 1) -> list[int]:
    """Process ids that were left beside a file, once there are so many at least."""
    file = path.with_suffix(".pid")
    async with asyncio.timeout(PATIENCE):
        while not file.exists() or file.read_text().count("\n") < processes:
            await asyncio.sleep(0.01)
    return [int(line) for line in file.read_text().split()]
