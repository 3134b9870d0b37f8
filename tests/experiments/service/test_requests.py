"""A request from its file to its answer: bounded in memory, and ended with its client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.encoder import Encoder
from experiments.service.app import build_app
from experiments.service.batching import Batches
from experiments.service.metrics import Counts
from experiments.service.models import ServedModel
from experiments.service.requests import AHEAD, Service
from experiments.settings import ServiceSettings
from models.fcn import FCN
from preprocess.tracks import DecodedTrack
from tests.experiments.service.exchanges import PATIENCE, answered, sent, serving

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


@contextmanager
def service_of(decoders: Held, folder: Path, **limits: float) -> Iterator[int]:
    torch.manual_seed(0)
    encoder = Encoder.of(FCN(channels=(4, 8, 8, 8, 4)), device="cpu").fed(True)
    settings = ServiceSettings(decoders=1, **limits)
    with closing(Batches(16, 1.0)) as batches:
        model = ServedModel("sounds", encoder, None, None, {})
        service = Service({"sounds": model}, decoders, batches, Counts(), folder, settings)
        with serving(build_app(service)) as port:
            yield port


@pytest.fixture
def held() -> Held:
    return Held()


def test_a_client_that_leaves_ends_the_decoding_and_nothing_is_left_of_its_file(held, tmp_path, eventually):
    with service_of(held, tmp_path) as port:
        client = sent(port, path=EMBED)
        assert held.begun.acquire(timeout=PATIENCE)
        assert len(list(tmp_path.iterdir())) == 1
        client.close()
        assert held.cancelled.acquire(timeout=PATIENCE)
        eventually(lambda: not list(tmp_path.iterdir()))
        held.go.set()
        assert answered(sent(port, path=EMBED))[0] == 200


def test_only_so_many_files_are_decoded_before_others_are_answered(held, tmp_path):
    with service_of(held, tmp_path) as port:
        clients = [sent(port, path=EMBED) for _ in range(AHEAD + 5)]
        for _ in range(AHEAD + 1):
            assert held.begun.acquire(timeout=PATIENCE)
        held.go.set()
        answers = [answered(client) for client in clients]
    assert held.most == AHEAD + 1
    assert [status for status, _, _ in answers] == [200] * len(clients)
    assert len({body for _, _, body in answers}) == 1


def test_requests_that_wait_for_a_decoder_too_long_are_given_up(held, tmp_path, eventually):
    with service_of(held, tmp_path, timeout=0.5) as port:
        clients = [sent(port, path=EMBED) for _ in range(AHEAD + 3)]
        assert [answered(client)[0] for client in clients] == [503] * len(clients)
        eventually(lambda: not list(tmp_path.iterdir()))


def test_more_requests_than_the_queue_holds_are_sent_away(held, tmp_path):
    with service_of(held, tmp_path, queue=1) as port:
        inside = sent(port, path=EMBED)
        assert held.begun.acquire(timeout=PATIENCE)
        status, headers, _ = answered(sent(port, path=EMBED))
        held.go.set()
        assert (status, answered(inside)[0]) == (429, 200)
        assert int(headers["retry-after"]) >= 1
