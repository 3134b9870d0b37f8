"""Windows of requests that run at the same time, in batches through their networks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from experiments.inference.predictor import RunBatch


class Batches:
    """Runs windows on a device, of whichever requests they are.

    Args:
        batch_size: Windows at once.
        wait: Milliseconds that windows wait for those of others.
    """

    def __init__(self, batch_size: int, wait: float) -> None:
        self._batch_size, self._wait = batch_size, wait
        self._thread = ThreadPoolExecutor(1, "network")

    async def run(self, run_batch: RunBatch, windows: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """The outputs of equally long windows, in their order; of each a list of arrays.

        Cancelling leaves out those that wait.
        """
        loop, outputs = asyncio.get_running_loop(), []
        for start in range(0, len(windows), self._batch_size):
            batch = np.stack(windows[start : start + self._batch_size])
            done = await loop.run_in_executor(self._thread, run_batch, batch)
            outputs += [list(values) for values in zip(*done, strict=True)]
        return outputs

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)
