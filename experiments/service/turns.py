"""Whose windows are next on a device: requests take turns, and so do networks."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import numpy as np

from experiments.inference.predictor import RunBatch


@dataclass(eq=False)
class WaitingWindows:
    """Windows of a request for a network.

    Attributes:
        run_batch: The network.
        windows: Equally long, at least one.
        done: The outputs of every window, in their order; of each a list of arrays.
        since: When it came, seconds of `time.monotonic`.
        taken: Windows that were taken.
        outputs: Of the windows that are through.
    """

    run_batch: RunBatch
    windows: Sequence[np.ndarray]
    done: Future = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    taken: int = 0
    outputs: dict[int, list[np.ndarray]] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Windows that wait; none where nobody waits for their outputs any more."""
        return 0 if self.done.done() else len(self.windows) - self.taken

    @property
    def kind(self) -> Hashable:
        """Equal for windows that fit into one batch."""
        return id(self.run_batch), self.windows[0].shape, self.windows[0].dtype

    def put(self, number: int, outputs: list[np.ndarray]) -> None:
        """Keep the outputs of a window; those of the last one end the work."""
        self.outputs[number] = outputs
        if len(self.outputs) == len(self.windows):
            with contextlib.suppress(InvalidStateError):  # cancelled
                self.done.set_result([self.outputs[one] for one in range(len(self.windows))])

    def fail(self, error: Exception) -> None:
        """End the work without outputs."""
        with contextlib.suppress(InvalidStateError):
            self.done.set_exception(error)


Batch = list[tuple[WaitingWindows, int]]  # windows by their numbers


class Turns:
    """Work that waits for a device.

    Args:
        size: Windows of a batch.
        shared: Whether a batch may hold windows of several requests.
        wait: Seconds that windows wait for those of others.
    """

    def __init__(self, size: int, shared: bool, wait: float) -> None:
        self._size, self._shared, self._wait = size, shared, wait
        self._queues: OrderedDict[Hashable, deque[WaitingWindows]] = OrderedDict()

    def add(self, work: WaitingWindows) -> None:
        """Let work wait for its turn."""
        self._queues.setdefault(work.kind, deque()).append(work)

    def clear(self) -> list[WaitingWindows]:
        """Forget all that waits; returns it."""
        waiting = [work for queue in self._queues.values() for work in queue]
        self._queues.clear()
        return waiting

    def due(self, coming: bool) -> float | None:
        """Seconds until a batch is to be run; None: there is nothing to run.

        Args:
            coming: Whether further windows are, which are worth waiting for.
        """
        self._forget_cancelled()
        return min((self._due(queue, coming) for queue in self._queues.values()), default=None)

    def take(self, coming: bool) -> Batch:
        """The windows that are to be run now; none where `due` is later."""
        self._forget_cancelled()
        for kind, queue in self._queues.items():
            if self._due(queue, coming) <= 0:
                batch = self._taken(queue)
                if queue:
                    self._queues.move_to_end(kind)
                else:
                    del self._queues[kind]
                return batch
        return []

    def _due(self, queue: deque[WaitingWindows], coming: bool) -> float:
        if not (self._shared and coming) or sum(work.waiting for work in queue) >= self._size:
            return 0.0
        return max(0.0, min(work.since for work in queue) + self._wait - time.monotonic())

    def _taken(self, queue: deque[WaitingWindows]) -> Batch:
        """The first windows of a queue: one of each request in turn, or all of one request."""
        batch: Batch = []
        while queue and len(batch) < self._size:
            work = queue.popleft()
            count = 1 if self._shared else min(self._size, work.waiting)
            batch += [(work, work.taken + number) for number in range(count)]
            work.taken += count
            if work.waiting:
                queue.append(work)
            if not self._shared:
                break
        return batch

    def _forget_cancelled(self) -> None:
        for kind, queue in list(self._queues.items()):
            left = [work for work in queue if work.waiting]
            if len(left) < len(queue):
                queue.clear()
                queue.extend(left)
            if not queue:
                del self._queues[kind]
