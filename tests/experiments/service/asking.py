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
Within = Callable[..., Decoders]
Noted = Callable[[object], Path]


def decoded(decoders: Decoders, path: Path, decode: Decode) -> DecodedTrack | str:
    return asyncio.run(decoders.decode(path, decode))


def refusal(decoders: Decoders, path: Path, decode: Decode) -> ServiceError:
    with pytest.raises(ServiceError) as refused:
        decoded(decoders, path, decode)
    return refused.value


async def started(path: Path) -> list[int]:
    """Process ids that were left beside a file, once there are any."""
    while not path.with_suffix(".pid").exists() or not path.with_suffix(".pid").read_text().endswith("\n"):
        await asyncio.sleep(0.01)
    return [int(line) for line in path.with_suffix(".pid").read_text().split()]
