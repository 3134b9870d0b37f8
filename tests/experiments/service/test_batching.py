"""Windows of several requests at once: everybody gets the outputs of their own, in order, in fair turns."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.encoder import Encoder
from experiments.service.batching import Batches, device_of
from experiments.service.problems import ServiceError
from models.fcn import FCN
from models.running import OpenTrack, in_batches

SIZE = 4
LONG = 600_000.0  # milliseconds: longer than any test
POISON = -1.0
PATIENCE = 60.0  # seconds


class Network:
    """Sums and products of windows; notes its batches, fails on some windows, and waits where it is held."""

    def __init__(self, device: str = "cuda", factor: float = 1.0) -> None:
        self.runtime = SimpleNamespace(torch_device=device)
        self.factor, self.batches = factor, []
        self.held, self.free = threading.Event(), threading.Event()
        self.free.set()

    def __call__(self, windows: np.ndarray) -> list[np.ndarray]:
        self.batches.append(windows[:, 0].tolist())
        self.held.set()
        self.free.wait(PATIENCE)
        if len(windows) > SIZE:
            raise AssertionError("a batch is too large")
        if (windows == POISON).any():
            raise RuntimeError("cannot be computed")
        return [windows * self.factor, windows.sum(1)]

    def hold(self) -> None:
        """Wait in the next batch until `free` is set."""
        self.held.clear()
        self.free.clear()


@pytest.fixture
def batches():
    with closing(Batches(SIZE, LONG)) as made:
        yield made


def windows_of(first: int, count: int, length: int = 3) -> list[np.ndarray]:
    return [np.arange(first + number, first + number + length, dtype=np.float32) for number in range(count)]


def check(outputs: list, windows: list[np.ndarray], network: Network) -> None:
    assert len(outputs) == len(windows)
    for (product, total), window in zip(outputs, windows, strict=True):
        np.testing.assert_array_equal(product, window * network.factor)
        assert total == window.sum()


requests = st.lists(
    st.tuples(
        st.integers(0, 2),  # network
        st.integers(2, 3),  # length of its windows
        st.integers(0, 11),  # windows
        st.sampled_from(["stays", "stays", "stays", "leaves", "leaves", "fails"]),
        st.integers(0, 3),  # how often others are let go first
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(requests, st.sampled_from([0.0, 1.0, LONG]), st.integers(0, 2**32 - 1))
def test_every_request_that_stays_gets_the_outputs_of_its_own_windows_in_their_order(drawn, wait, seed):
    networks = [Network("cuda", 2.0), Network("cuda", 3.0), Network("cpu", 5.0)]
    draws = np.random.default_rng(seed)

    async def one(batches: Batches, number: int, which: int, length: int, count: int, fate: str, later: int) -> None:
        windows = windows_of(100 * (number + 1), count, length)
        if fate == "fails" and count:
            windows[draws.integers(count)][:] = POISON
        with batches.coming():
            for _ in range(later):
                await asyncio.sleep(0)
        task = asyncio.ensure_future(batches.run(networks[which], windows))
        if fate == "leaves":
            for _ in range(later):
                await asyncio.sleep(0)
            task.cancel()
        (outputs,) = await asyncio.gather(task, return_exceptions=True)
        if fate == "fails" and count:
            assert str(outputs) == "cannot be computed"
        elif fate == "stays" or not isinstance(outputs, asyncio.CancelledError):
            check(outputs, windows, networks[which])

    async def all_of_them() -> None:
        with closing(Batches(SIZE, wait)) as batches:
            calls = [one(batches, number, *rest) for number, rest in enumerate(drawn)]
            await asyncio.wait_for(asyncio.gather(*calls), PATIENCE)

    asyncio.run(all_of_them())


def test_a_lone_request_does_not_wait(batches):
    network, windows = Network(), windows_of(0, 2)
    check(asyncio.run(asyncio.wait_for(batches.run(network, windows), PATIENCE)), windows, network)


def test_windows_wait_for_those_that_are_coming_and_share_their_batch(batches):
    network = Network()

    async def both():
        with batches.coming():
            calls = [asyncio.ensure_future(batches.run(network, windows_of(first, 1))) for first in (10, 20)]
            await asyncio.sleep(0)
            assert network.batches == []
        return await asyncio.wait_for(asyncio.gather(*calls), PATIENCE)

    first, second = asyncio.run(both())
    assert network.batches == [[10, 20]]
    check(first, windows_of(10, 1), network)
    check(second, windows_of(20, 1), network)


def test_windows_that_fill_a_batch_or_waited_long_enough_do_not_wait_for_those_that_are_coming():
    network = Network()
    for wait, count in ((LONG, SIZE), (1.0, 1)):
        with closing(Batches(SIZE, wait)) as batches, batches.coming():
            asyncio.run(asyncio.wait_for(batches.run(network, windows_of(0, count)), PATIENCE))
    assert network.batches == [[0, 1, 2, 3], [0]]


@pytest.mark.parametrize(("device", "second"), [("cuda", [1004, 0, 1005, 1]), ("cpu", [0, 1])])
def test_a_long_request_does_not_hold_up_a_short_one(batches, device, second):
    network = Network(device)

    async def both():
        network.hold()
        long = asyncio.ensure_future(batches.run(network, windows_of(1000, 100)))
        await asyncio.to_thread(network.held.wait, PATIENCE)
        await asyncio.sleep(0)
        short = asyncio.ensure_future(batches.run(network, windows_of(0, 2)))
        await asyncio.sleep(0)
        network.free.set()
        return await asyncio.gather(long, short)

    long, short = asyncio.run(both())
    assert network.batches[2 if device == "cpu" else 1] == second
    check(long, windows_of(1000, 100), network)
    check(short, windows_of(0, 2), network)


def test_windows_of_a_client_that_left_are_not_run_and_a_batch_in_flight_is_dropped(batches):
    network = Network()

    async def some():
        network.hold()
        gone = asyncio.ensure_future(batches.run(network, windows_of(0, 9)))
        await asyncio.to_thread(network.held.wait, PATIENCE)
        stays = asyncio.ensure_future(batches.run(network, windows_of(100, 1)))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        network.free.set()
        return await stays

    check(asyncio.run(some()), windows_of(100, 1), network)
    assert network.batches == [[0, 1, 2, 3], [100]]


@pytest.mark.parametrize(
    "error",
    [MemoryError(), type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), RuntimeError("can't allocate memory")],
)
def test_too_little_memory_is_said_in_words_and_fails_nobody_else(batches, error):
    class Small(Network):
        def __call__(self, windows: np.ndarray) -> list[np.ndarray]:
            if len(windows) > 1:
                raise error
            return super().__call__(windows)

    network = Small()

    async def all_of_them():
        with batches.coming():
            calls = [asyncio.ensure_future(batches.run(network, windows_of(first, n))) for first, n in ((0, 1), (9, 2))]
            await asyncio.sleep(0)
        return await asyncio.gather(*calls, return_exceptions=True)

    fits, large = asyncio.run(all_of_them())
    check(fits, windows_of(0, 1), network)
    assert isinstance(large, ServiceError)
    assert large.status == 503
    assert "inference.batch_size" in large.detail


def test_a_network_that_gives_too_few_outputs_fails_and_the_thread_lives(batches):
    with pytest.raises(ValueError, match="0 windows for 1"):
        asyncio.run(batches.run(lambda windows: [windows[:0]], windows_of(0, 1)))
    check(asyncio.run(batches.run(network := Network("cpu"), windows_of(0, 1))), windows_of(0, 1), network)


def test_at_the_end_a_batch_in_flight_is_finished_and_what_waits_is_told_so():
    network, batches = Network("cpu"), Batches(SIZE, 0.0)

    async def ends():
        network.hold()
        first = asyncio.ensure_future(batches.run(network, windows_of(0, 1)))
        await asyncio.to_thread(network.held.wait, PATIENCE)
        second = asyncio.ensure_future(batches.run(network, windows_of(10, 1)))
        await asyncio.sleep(0)
        with ThreadPoolExecutor(1) as other:
            closed = other.submit(batches.close)
            with pytest.raises(ServiceError, match="the service ends"):
                await second
            network.free.set()
            check(await first, windows_of(0, 1), network)
            closed.result()
        with pytest.raises(ServiceError, match="the service ends"):
            await batches.run(network, windows_of(0, 1))

    asyncio.run(ends())
    assert network.batches == [[0]]


def test_on_a_cpu_answers_are_those_of_predict_to_the_last_bit():
    torch.manual_seed(0)
    encoder = Encoder.of(FCN(channels=(4, 8, 8, 8, 4)), device="cpu")
    predict = encoder.runner(lambda network, x: (network(x),))
    draws = np.random.default_rng(0)
    length = encoder.windowing().rows
    tracks = [[draws.normal(0, 0.1, length).astype(np.float32) for _ in range(n)] for n in (1, 3, 2, 5)]
    alone = [next(in_batches([OpenTrack("", np.arange(len(one)), list(one))], predict, SIZE)).outputs for one in tracks]

    async def together():
        with closing(Batches(SIZE, 5.0)) as batches:
            return await asyncio.gather(*map(partial(batches.run, predict), tracks))

    for found, expected in zip(asyncio.run(together()), alone, strict=True):
        np.testing.assert_array_equal([one[0] for one in found], [one[0] for one in expected])


def test_what_is_not_torchs_runs_on_the_cpu():
    assert device_of(lambda windows: [windows]) == "cpu"
    assert device_of(Network("cuda:1")) == "cuda:1"
