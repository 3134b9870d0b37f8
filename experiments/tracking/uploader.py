"""The thread that copies a run's journal to a database, in the background, with as many attempts as it takes.

It reads the journal file alone; a database that is slow, frozen, absent or gone for
good costs the run nothing but a bounded wait at the very end.
"""

from __future__ import annotations

import collections
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.database import Database
from pymongo.errors import AutoReconnect

from experiments.tracking.apply import RunCopy
from experiments.tracking.faults import explained
from experiments.tracking.home import pending_directory
from experiments.tracking.journal import FILE_NAME, Record, parse

log = logging.getLogger("ostinato.tracking")

BATCH_BYTES = 2**20  # of the journal, read at once


@dataclass(frozen=True)
class Waits:
    """How long the uploader waits for what, in seconds."""

    poll: float = 1.0  # between looks at the journal
    first: float = 1.0  # before the first repetition after a failure; doubles each time
    longest: float = 30.0  # between repetitions
    draining: float = 1.0  # between repetitions while the run waits for the last records
    restart: float = 5.0  # until `connect`, which may start the server, is called again
    repeat: float = 5.0  # records applied this long before a lost connection are applied again


class Tail:
    """Reads a journal that is still being written."""

    def __init__(self, run_dir: Path):
        self.path, self.offset = run_dir / FILE_NAME, 0

    def read(self) -> list[Record]:
        """The next records; an incomplete last line is left for the next time."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            block = file.read(BATCH_BYTES)
            if block and b"\n" not in block:
                block += file.readline()
        whole = block[: block.rfind(b"\n") + 1]
        self.offset += len(whole)
        records = (parse(line) for line in whole.splitlines(keepends=True))
        return [record for record in records if record is not None]

    def waiting(self) -> int:
        """Number of complete lines not read yet."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))


class Uploader:
    """One run's way into the database.

    Args:
        run_dir: the run's directory, with its journal.
        connect: returns a database behind a new client with short time-outs. Called again when the server has been gone
            for some seconds; it may start a server.
        max_points: points of a series kept in the database.
        upload_limit_mb: size up to which checkpoints are stored too.
        backlog: records that a full disk keeps out of the journal (`Journal.backlog`).
    """

    def __init__(
        self,
        run_dir: Path | str,
        connect: Callable[[], Database],
        *,
        max_points: int = 5000,
        upload_limit_mb: float = 64,
        backlog: Callable[[], list[Record]] | None = None,
        waits: Waits | None = None,
    ):
        self.directory = Path(run_dir)
        self.copy = RunCopy(self.directory, max_points, upload_limit_mb, own=True)
        self._connect, self._backlog = connect, backlog or list
        self._waits = waits or Waits()
        self._tail = Tail(self.directory)
        self._queue: collections.deque[Record] = collections.deque()
        self._recent: collections.deque[tuple[float, Record]] = collections.deque()
        self._last = 0  # seq of the last record taken from the journal
        self._safe = 0  # everything up to this seq is in the database
        self._database: Database | None = None
        self._attached = False
        self._server: Any = None  # the process that answered when the copy was attached
        self._gone_since: float | None = None
        self._pause = self._waits.first
        self._wake, self._stop, self._drained = threading.Event(), threading.Event(), threading.Event()
        self._draining = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="ostinato-uploader", daemon=True)

    @property
    def run_id(self) -> int | None:
        """The run's number, once the database has given it one."""
        return self.copy.run_id

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def wait_for_number(self, seconds: float) -> int | None:
        """The run's number, waiting for it no longer than `seconds`."""
        deadline = time.monotonic() + seconds
        while self.run_id is None and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.run_id

    def drain(self, seconds: float) -> int:
        """Wait until everything written so far is in the database, but no longer than `seconds`; ends the thread.

        Returns:
            How many records are left for a later `sync`; 0 means the run is complete in the database.
        """
        if os.getpid() != self._pid or not self._thread.is_alive():
            return self._pending()
        self._draining = True
        self._wake.set()
        self._drained.wait(seconds)
        self._stop.set()
        self._wake.set()
        if self._drained.is_set():
            self._thread.join(1.0)
        return self._pending()

    def _pending(self) -> int:
        try:
            last = max([self._last + self._tail.waiting(), *(record["seq"] for record in self._backlog())])
        except OSError:
            last = self._last
        return max(last - self._safe, 0)

    def _run(self) -> None:
        while not self._stop.is_set():
            draining = self._draining  # asked before looking: what was written before `drain` is seen below
            try:
                idle = self._step()
                if idle and draining:
                    self._finish()
            except Exception as error:
                self._lost(error)
                self._rest(self._pause)
                longest = self._waits.draining if self._draining else self._waits.longest
                self._pause = min(self._pause * 2, longest)
                continue
            if idle and draining:
                return
            if idle and not self._draining:
                self._rest(self._waits.poll)
        self._close()

    def _rest(self, seconds: float) -> None:
        self._wake.wait(min(seconds, self._waits.draining) if self._draining else seconds)
        if not self._stop.is_set():
            self._wake.clear()

    def _step(self) -> bool:
        """Apply the next records; True when there was nothing to do."""
        self._take()
        if not self._queue and self._attached and not self.copy.is_waiting:
            return True
        if not self._attached or self._server != server_process(self._database):
            self._attach()
        idle = not self._queue
        while self._queue and not self._stop.is_set():
            self.copy.take(self._queue[0])
            record = self._queue.popleft()
            if record["kind"] != "metrics":
                self._recent.append((time.monotonic(), record))
        self.copy.flush(everything=self._draining)
        if not self._queue and not self.copy.is_waiting:
            self._safe = max(self._safe, self._last)
        self._well()
        return idle and not self._draining

    def _take(self) -> None:
        if self._queue:
            return
        records = self._tail.read() or self._backlog()  # a record may have gone from the second to the first
        self._queue.extend(record for record in records if record["seq"] > self._last)
        self._last = max([self._last, *(record["seq"] for record in self._queue)])

    def _attach(self) -> None:
        gone = time.monotonic() - self._gone_since if self._gone_since is not None else None
        if self._database is None or (gone is not None and gone >= self._waits.restart):
            self._close()
            self._database = self._connect()
        self._server = server_process(self._database)  # asked before the copy learns what it holds
        self.copy.attach(self._database)
        self._attached = True
        again = [record for _, record in self._recent]
        self._recent.clear()
        if self.copy.run_id is None:  # a database that does not know the run: all of it
            self._queue.clear()
            self._tail.offset = self._last = self._safe = 0
        else:
            self._queue.extendleft(reversed(again))

    def _well(self) -> None:
        if self._gone_since is not None:
            gone = time.monotonic() - self._gone_since
            log.warning("the database answers again after %.0f s; run %s is sent on", gone, self.copy.key)
        self._gone_since, self._pause = None, self._waits.first
        while self._recent and self._recent[0][0] < time.monotonic() - self._waits.repeat:
            self._recent.popleft()

    def _lost(self, error: Exception) -> None:
        self._attached = False
        if self._gone_since is None:
            self._gone_since = time.monotonic()
            log.warning("%s; run %s is recorded in its journal meanwhile", explained(error), self.copy.key)

    def _finish(self) -> None:
        """All is sent: see whether all has arrived, and forget that the run is to be sent."""
        if self.copy.done:
            self.copy.verify()
            if self._server != server_process(self._database):
                raise AutoReconnect("the server was started again")
            pointer = pending_directory() / f"{self.copy.key}.json"
            pointer.unlink(missing_ok=True)
        self._close()
        self._drained.set()

    def _close(self) -> None:
        if self._database is not None:
            self._database.client.close()
            self._database = None


def server_process(database: Database) -> Any:
    """What tells the server's process from another one at the same address; None where there may be several at once."""
    answer = database.client.admin.command("hello")
    return None if answer.get("msg") == "isdbgrid" else answer.get("topologyVersion", {}).get("processId")
