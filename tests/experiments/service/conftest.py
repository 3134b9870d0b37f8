"""Decoders and files for them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from experiments.service.decoding import Decoders, DecodingLimits


@pytest.fixture
def decoders_within() -> Iterator[Callable[..., Decoders]]:
    """Decoders with limits, `audio` and `seconds` in seconds; closed afterwards."""
    made = []

    def make(processes: int = 2, audio: float = 60.0, seconds: float = 60.0, megabytes: int = 500) -> Decoders:
        made.append(Decoders(processes, DecodingLimits(audio, seconds, megabytes)))
        return made[-1]

    yield make
    for decoders in made:
        decoders.close()


@pytest.fixture
def noted(tmp_path: Path) -> Callable[[object], Path]:
    """Files that hold a text, each of another name."""
    numbers = itertools.count()

    def note(text: object) -> Path:
        path = tmp_path / f"upload-{next(numbers)}"
        path.write_text(str(text))
        return path

    return note


@pytest.fixture
def processes_started() -> Callable[[], list[psutil.Process]]:
    """Processes that were started since, and are not gone."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: [one for one in psutil.Process().children(recursive=True) if one not in before]
