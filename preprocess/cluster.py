"""The workers of a Dask cluster, on any number of machines, which have to have this project.

Scheduler and workers are started from the project's folder: `python -m` puts it where they look for modules.

    python -m dask scheduler
    python -m dask worker tcp://HOST:8786 --nworkers 8 --nthreads 1
"""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

PACKAGE = "dask[distributed]"
START = "start it from the project's folder, with `python -m dask {}`"
ANSWER = 20.0  # seconds that a scheduler has to answer
ARRIVAL = 60.0  # seconds that a cluster may be without any worker
LOOK = 2.0  # seconds between two looks at who is there
AHEAD = 3  # calls that a thread has before it, so that it need not wait for the next one
SENDINGS = 5  # of what a call needs, should all workers that held it have died


class ClusterError(ValueError):
    """A cluster that cannot be reached, or cannot run this."""


@contextmanager
def connected(address: str, setting: str, module: str) -> Iterator[Cluster]:
    """The cluster of a scheduler, once it is known to have a worker and this project.

    Args:
        address: Of the scheduler, `tcp://HOST:PORT`.
        setting: How the user gave it, for messages: `--scheduler`.
        module: Imported on the scheduler and all workers before anything is sent there.

    Raises:
        ClusterError: Dask is not installed, nobody answers, there are no workers, or they lack the project.
    """
    try:
        import distributed
    except ImportError as error:
        raise ClusterError(f"{setting}={address}: Dask cannot be imported ({error}): pip install '{PACKAGE}'") from None
    try:
        client = distributed.Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(
            f"{setting}={address}: no Dask scheduler answers there within {ANSWER:.0f} s ({reason}); "
            + START.format("scheduler")
        ) from None
    with client:
        yield Cluster(client, f"{setting}={address}", module, distributed.KilledWorker)


class Shared:
    """A value that workers hold, and that is sent again when all that held it have died.

    Dask lets go of a copy that no waiting call needs, so that the death of one worker can take the last one.

    Attributes:
        held: The `distributed.Future` that stands for the value in calls.
    """

    def __init__(self, value: Any, send: Callable[[Any], Any]) -> None:
        self._value, self._send = value, send
        self.held = send(value)

    def replace(self, lost: Any) -> None:
        """Send the value again, unless that was done since a call was sent with the future that is lost."""
        if self.held is lost:
            self.held = self._send(self._value)


@dataclass(frozen=True)
class Sent:
    """A call on its way.

    Attributes:
        arguments: As they were given.
        held: The same with the futures of what is shared.
        sendings: How often it was sent.
    """

    arguments: tuple[Any, ...]
    held: tuple[Any, ...]
    sendings: int

    @classmethod
    def of(cls, arguments: tuple[Any, ...], sendings: int = 1) -> Sent:
        """A call with what workers hold now."""
        held = tuple(value.held if isinstance(value, Shared) else value for value in arguments)
        return cls(arguments, held, sendings)

    def again(self) -> Sent:
        """The same call, with new copies of what was lost with the workers."""
        for value, lost in zip(self.arguments, self.held, strict=True):
            if isinstance(value, Shared):
                value.replace(lost)
        return Sent.of(self.arguments, self.sendings + 1)


class Cluster:
    """A cluster that has this project.

    Args:
        client: A `distributed.Client` connected to its scheduler.
        setting: What made the user choose it, for messages.
        module: Imported on the scheduler, and on every worker that comes.
        killed: What Dask raises for a call that took worker after worker with it.

    Raises:
        ClusterError: No worker came in time, or the project is not what they have.
    """

    def __init__(self, client: Any, setting: str, module: str, killed: type[Exception]) -> None:
        self._client, self._setting, self._module, self._killed = client, setting, module, killed
        self._known: dict[str, int] = {}
        self._looked, self._seen = 0.0, time.monotonic()
        try:
            version = client.run_on_scheduler(about, module)
        except Exception as error:
            raise self._lacking("the scheduler", "scheduler", error) from None
        self._compare("the scheduler", version)
        self._await_worker()

    def threads(self) -> int:
        """How many calls are worked on at a time; workers that have come since the last time are examined.

        Raises:
            ClusterError: The scheduler is gone, there has been no worker for too long, or a new one lacks the project.
        """
        now = time.monotonic()
        if now - self._looked < LOOK and self._known:
            return sum(self._known.values())
        self._looked = now
        try:
            threads = dict(self._client.ncores())
            new = [address for address in threads if address not in self._known]
            versions = self._client.run(about, self._module, workers=new, on_error="return") if new else {}
        except (OSError, CancelledError, RuntimeError) as error:
            raise self._gone() from error
        for address, version in versions.items():
            if isinstance(version, OSError):  # it has gone again
                threads.pop(address, None)
            elif isinstance(version, BaseException):
                raise self._lacking(f"the worker {address}", "worker", version)
            else:
                self._compare(f"the worker {address}", version)
        self._known = threads
        if threads:
            self._seen = now
        elif now - self._seen > ARRIVAL:
            raise ClusterError(
                f"{self._setting}: the cluster has been without a worker for {ARRIVAL:.0f} s; "
                + START.format("worker ADDRESS")
                + " and give the same command again: what is done is kept"
            )
        return sum(threads.values())

    def share(self, value: Any) -> Shared:
        """Send something large to all workers once; what comes back takes its place among the arguments of calls."""
        return Shared(value, self._send)

    def unordered(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Results of a function for many arguments, in the order in which they are there.

        What a worker had begun when it died is done again by another one, so that a function has to bear being called
        twice; what it held for others is sent again. Few calls wait at a time, however many there are.

        Raises:
            ClusterError: The cluster fails, or one call takes worker after worker with it.
        """
        waiting: SimpleQueue[Any] = SimpleQueue()
        running: dict[Any, Sent] = {}
        calls, self._seen = iter(calls), time.monotonic()

        def submit(call: Sent) -> None:
            future = self._client.submit(function, *call.held, pure=False)
            running[future] = call
            future.add_done_callback(waiting.put)

        try:
            while True:
                for arguments in islice(calls, max(0, AHEAD * max(1, self.threads()) - len(running))):
                    submit(Sent.of(arguments))
                if not running:
                    return
                future = self._patiently(waiting.get)
                call = running.pop(future)
                try:
                    failed = future.status == "error"  # perhaps with a TimeoutError of its own
                    result = future.result() if failed else self._patiently(future.result)
                except CancelledError as error:
                    if self._client.status != "running":
                        raise self._gone() from error
                    if call.sendings == SENDINGS:
                        raise self._lost() from error
                    submit(call.again())
                else:
                    yield result
        except self._killed as error:
            raise ClusterError(
                f"{self._setting}: several workers died over one piece of work, most often for want of memory; "
                "start workers with more memory or fewer of them a machine (the worker's log tells), and give the same "
                "command again: what is done is kept"
            ) from error
        except ImportError as error:
            raise self._lacking("a worker", "worker ADDRESS", error) from error
        finally:
            if self._client.status == "running":
                self._client.cancel(list(running))

    def _send(self, value: Any) -> Any:
        self._await_worker()
        return self._client.scatter(value, broadcast=True, hash=False)

    def _await_worker(self) -> None:
        self._seen = time.monotonic()
        while not self.threads():
            time.sleep(0.1)

    def _patiently(self, wait: Callable[..., Any]) -> Any:
        """What a call gives that takes a time limit, with an eye on who is there while it takes long."""
        while True:
            try:
                return wait(timeout=LOOK)
            except (Empty, TimeoutError):
                self.threads()

    def _compare(self, who: str, version: str) -> None:
        if version != about(self._module):
            raise ClusterError(
                f"{self._setting}: {who} has another version of this project than this command; give all machines the "
                "same one, and start scheduler and workers again"
            )

    def _lacking(self, who: str, what: str, error: BaseException) -> ClusterError:
        return ClusterError(
            f"{self._setting}: {who} cannot import this project ({str(error).splitlines()[0]}); " + START.format(what)
        )

    def _lost(self) -> ClusterError:
        return ClusterError(
            f"{self._setting}: the workers died {SENDINGS} times with what this command had sent them, most often for "
            "want of memory (the worker's log tells); give the same command again: what is done is kept"
        )

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"{self._setting}: the scheduler no longer answers; start it and its workers again, and give the "
            "same command again: what is done is kept"
        )


@cache
def about(module: str) -> str:
    """Import a module of this project, and return the version of the project: a digest of its code, as it was then."""
    importlib.import_module(module)
    root, total = Path(__file__).parents[1], hashlib.sha256()
    for room in ("models", "datasets", "preprocess", "experiments"):
        for path in sorted((root / room).rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()
