"""Windows of requests that run at the same time, in batches through their networks.

On a CPU a batch holds windows of one request alone, cut as `models.running.in_batches` cuts those of a single file. The
last bits of what a network gives depend there on how many windows it sees at once, because other kernels are chosen,
and so an answer is exactly that of `predict`. Little is lost: a window takes about as long alone as among others. Other
devices are filled with windows of several requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from experiments.inference.predictor import RunBatch
from experiments.service.problems import ServiceError
from experiments.service.turns import Batch, Turns, WaitingWindows

PATIENCE = 10.0  # seconds that batches in flight have when all ends


class Batches:
    """Runs windows on their devices, each in a thread of its own.

    A batch is run when it is full, when its oldest window has waited, and at once where no others are coming.

    Args:
        batch_size: Windows at once.
        wait: Milliseconds that windows wait for those of others.
    """

    def __init__(self, batch_size: int, wait: float) -> None:
        self._size, self._wait = batch_size, wait / 1000
        self._changed = threading.Condition()
        self._devices: dict[str, Turns] = {}
        self._threads: list[threading.Thread] = []
        self._coming, self._closed = 0, False

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """While windows of a request are on their way, those of others wait for them."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()

    async def run(self, run_batch: RunBatch, windows: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """The outputs of equally long windows, in their order; of each a list of arrays.

        Cancelling leaves out those that wait.

        Raises:
            ServiceError: The memory of the device is too small, or the service ends.
            Exception: Whatever `run_batch` raises for windows of this request alone.
        """
        if not windows:
            return []
        work = WaitingWindows(run_batch, windows)
        with self._changed:
            if self._closed:
                raise _ended()
            self._turns(device_of(run_batch)).add(work)
            self._changed.notify_all()
        return await asyncio.wrap_future(work.done)

    def close(self) -> None:
        """End the threads; what waits is not run, and a batch in flight is waited for a while."""
        with self._changed:
            self._closed = True
            waiting = [work for turns in self._devices.values() for work in turns.clear()]
            self._changed.notify_all()
        for work in waiting:
            work.fail(_ended())
        for thread in self._threads:
            thread.join(PATIENCE)

    def _turns(self, device: str) -> Turns:
        """The work that waits for a device, whose thread is started by the first."""
        if device not in self._devices:
            turns = self._devices[device] = Turns(self._size, device != "cpu", self._wait)
            thread = threading.Thread(target=self._work, args=(turns,), name=f"network {device}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self._devices[device]

    def _work(self, turns: Turns) -> None:
        """What the thread of a device does."""
        while True:
            with self._changed:
                while not (self._closed or (batch := turns.take(self._coming > 0))):
                    self._changed.wait(turns.due(self._coming > 0))
                if self._closed:
                    return
            _run(batch)


def device_of(run_batch: RunBatch) -> str:
    """Where a network runs; what is not torch's runs on the CPU."""
    runtime = getattr(run_batch, "runtime", None)
    return "cpu" if runtime is None else str(runtime.torch_device)


def _run(batch: Batch) -> None:
    """Run windows; where that fails, those of every request by themselves."""
    works = list(dict.fromkeys(work for work, _ in batch))
    try:
        arrays = works[0].run_batch(np.stack([work.windows[number] for work, number in batch]))
        outputs = [list(values) for values in zip(*arrays, strict=True)]
        if len(outputs) != len(batch):
            raise ValueError(f"the network gave outputs of {len(outputs)} windows for {len(batch)}")
    except Exception as error:
        if len(works) == 1:
            works[0].fail(_explained(error))
            return
        for one in works:
            if not one.done.done():
                _run([(work, number) for work, number in batch if work is one])
        return
    for (work, number), values in zip(batch, outputs, strict=True):
        work.put(number, values)


def _explained(error: Exception) -> Exception:
    """What went wrong; where it was memory, in words for the client."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate" in str(error):
        return ServiceError(
            503,
            "the network has too little memory for this file now: try again later, or set a lower inference.batch_size",
        )
    return error


def _ended() -> ServiceError:
    return ServiceError(503, "the service ends: try again when it is back")
