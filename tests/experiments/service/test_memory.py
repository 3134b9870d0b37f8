"""When memory is given back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from experiments.service import memory
from experiments.service.metrics import Counts


def test_it_is_given_back_once_after_every_time_with_requests(monkeypatch):
    given: list[int] = []
    monkeypatch.setattr(memory, "REST", 0.01)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=given.append))
    counts = Counts()

    async def serve() -> None:
        task = asyncio.create_task(memory.give_back(counts))
        for times in (1, 2):
            counts.answered("/", 200, 0.1)
            async with asyncio.timeout(30):
                while len(given) < times:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # at rest
            assert given == [0] * times
        task.cancel()

    asyncio.run(serve())


def test_a_c_library_without_it_is_no_error(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert asyncio.run(memory.give_back(Counts())) is None
