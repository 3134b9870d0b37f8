"""What tests of several rooms share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

import pytest

from experiments import reports


@pytest.fixture
def axes(monkeypatch) -> list:
    """The axes of the pictures that are drawn, kept open."""
    kept, drawing = [], reports.picture

    @contextmanager
    def watched(*how):
        with drawing(*how) as given:
            yield given
            kept.extend(given)

    monkeypatch.setattr(reports, "picture", watched)
    return kept


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Asks until the answer is true, and fails after a deadline."""

    def ask(question: Callable[[], object], seconds: float = 120.0, every: float = 0.02) -> object:
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while time.monotonic() < deadline:
            if answer := question():
                return answer
            pause.wait(every)
        raise AssertionError(f"not so within {seconds} s")

    return ask
