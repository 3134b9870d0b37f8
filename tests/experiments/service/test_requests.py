"""A request from its file to its answer: bounded in memory, and ended with its client."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.service.problems import ServiceError
from experiments.service.requests import AHEAD, together
from preprocess.tracks import DecodedTrack
from tests.experiments.service.exchanges import PATIENCE, answered, sent

EMBED = "/v1/sounds/embed"


class Held:
    """Decodes every file to the same second of noise, once it is let go."""

    def __init__(self) -> None:
        self.go, self.begun, self.cancelled = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
        self.now = self.most = 0

    async def decode(self, path: Path, decode: object) -> DecodedTrack:
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.release()
        try:
            while not self.go.is_set():
                await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            self.cancelled.release()
            raise
        finally:
            self.now -= 1
        return DecodedTrack(np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32), 1.0)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def service_of(served, tagger, held, monkeypatch):
    """A service whose files are decoded by `held`."""

    @contextmanager
    def serve(**limits: float) -> Iterator[Any]:
        with served({"sounds": tagger}, decoders=1, **limits) as service:
            monkeypatch.setattr(service.service.decoders, "decode", held.decode)
            yield service

    return serve


def test_a_client_that_leaves_ends_the_decoding_and_nothing_is_left_of_its_file(service_of, held, eventually):
    with service_of() as service:
        client = sent(service.port, path=EMBED)
        assert held.begun.acquire(timeout=PATIENCE)
        assert len(list(service.service.folder.iterdir())) == 1
        client.close()
        assert held.cancelled.acquire(timeout=PATIENCE)
        eventually(lambda: not list(service.service.folder.iterdir()))
        held.go.set()
        assert answered(sent(service.port, path=EMBED))[0] == 200


def test_only_so_many_files_are_decoded_before_others_are_answered(service_of, held):
    with service_of() as service:
        clients = [sent(service.port, path=EMBED) for _ in range(AHEAD + 5)]
        for _ in range(AHEAD + 1):
            assert held.begun.acquire(timeout=PATIENCE)
        held.go.set()
        answers = [answered(client) for client in clients]
    assert held.most == AHEAD + 1
    assert [status for status, _, _ in answers] == [200] * len(clients)
    assert len({body for _, _, body in answers}) == 1


def test_requests_that_wait_for_a_decoder_too_long_are_given_up(service_of, held, eventually):
    with service_of(timeout=2) as service:
        clients = [sent(service.port, path=EMBED) for _ in range(AHEAD + 3)]
        assert [answered(client)[0] for client in clients] == [503] * len(clients)
        eventually(lambda: not list(service.service.folder.iterdir()))


def test_more_requests_than_the_queue_holds_are_sent_away(service_of, held):
    with service_of(queue=1) as service:
        inside = sent(service.port, path=EMBED)
        assert held.begun.acquire(timeout=PATIENCE)
        status, headers, _ = answered(sent(service.port, path=EMBED))
        held.go.set()
        assert (status, answered(inside)[0]) == (429, 200)
        assert int(headers["retry-after"]) >= 1


def test_calls_that_go_on_when_another_fails_are_cancelled_and_waited_for():
    ended = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ServiceError(422, "too much memory")

    async def goes_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cancelled")

    with pytest.raises(ServiceError, match="too much memory"):
        asyncio.run(together([goes_on(), fails(), goes_on()]))
    assert ended == ["cancelled"] * 2


def test_calls_give_their_results_in_order_and_are_cancelled_with_their_request():
    async def number(given: int) -> int:
        for _ in range(5 - given):
            await asyncio.sleep(0)
        return given

    async def all_of_them() -> list[int]:
        return await together(map(number, range(5)))

    async def cancelled() -> None:
        task = asyncio.create_task(together([asyncio.Event().wait(), number(1)]))
        await asyncio.sleep(0)
        task.cancel()
        await task

    assert asyncio.run(all_of_them()) == list(range(5))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def test_a_token_that_is_asked_for_twice_is_given_once_and_a_numpy_file_holds_the_same(service_of, held):
    held.go.set()
    with service_of() as service:
        (model,) = service.service.models.values()
        tokens = model.encoder.network.token_names
        status, _, body = answered(sent(service.port, path=EMBED))
        values = np.asarray(next(iter(json.loads(body)["layers"].values())), np.float32)
        assert (status, values.shape[1]) == (200, len(tokens))
        twice = "&".join(f"tokens={token}" for token in [*tokens, *tokens])
        assert answered(sent(service.port, path=f"{EMBED}?{twice}"))[2] == body
        status, _, body = answered(sent(service.port, path=f"{EMBED}?form=npy"))
        assert status == 200
        np.testing.assert_array_equal(np.load(io.BytesIO(body)), values)


@pytest.mark.parametrize("path", ["/v1/sounds/predict", "/v1/predict"])
def test_options_that_contradict_each_other_are_refused(service_of, path):
    with service_of() as service:
        status, _, body = answered(sent(service.port, path=f"{path}?top=1&threshold=0.5"))
    assert status == 422
    assert b"top and threshold" in body


@pytest.mark.parametrize(
    ("path", "known"),
    [("predict", b"top, threshold, over_time"), ("sounds/predict", b"over_time"), ("sounds/embed", b"layers, tokens")],
)
def test_an_option_that_there_is_not_is_refused(service_of, path, known):
    with service_of() as service:
        status, _, body = answered(sent(service.port, path=f"/v1/{path}?over-time=true"))
    assert status == 422
    assert b"'over-time' is no option of /v1/" in body
    assert known in body


def test_values_that_are_not_finite_are_no_answer(service_of, held, monkeypatch):
    async def run(run_batch: object, windows: list[np.ndarray]) -> list[list[np.ndarray]]:
        return [[np.array([1.0, np.nan, 0.0], np.float32)] for _ in windows]

    held.go.set()
    with service_of() as service:
        monkeypatch.setattr(service.service.batches, "run", run)
        for path in ("/v1/sounds/predict", EMBED, "/v1/predict"):
            status, _, body = answered(sent(service.port, path=path))
            assert status == 422
            assert b"not finite" in body
