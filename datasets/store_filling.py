"""Tracks into shards of a store whose index another process keeps: what a worker does, on this or another machine.

The process that keeps the index opens a :class:`datasets.store.StoreWriter` and sends a :class:`Filler` of it to the
workers. They write what is large and give back what is small, rows of the index, which the writer then adopts
(:meth:`datasets.store.StoreWriter.adopt`). Shards with no row in the index are removed when the writer closes.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from datasets.store_files import PARTS, SHARDS, StoreError, own_folder, shard_name, sync_folder
from datasets.store_format import Header
from datasets.store_shard import ShardWriter
from datasets.store_writer import StoreWriter, checked_rows, index_row
from datasets.text import pluralize

_NUMBERS = 10**9  # of shards: workers choose without knowing of each other
_STORES = 64  # whose shards a thread goes on with


class _Begun(threading.local):
    """The shards that a thread has begun, by token; closed between two groups."""

    def __init__(self) -> None:
        self.shards: dict[str, ShardWriter] = {}


_begun = _Begun()


@dataclass(frozen=True)
class Filler:
    """Leave to fill shards of a store; can be sent to other processes.

    Attributes:
        path: folder of the store, the same for all who fill it.
        header: what the arrays are.
        token: of the writer that keeps the index.
        shard_bytes: size at which a new shard is begun.
    """

    path: Path
    header: Header
    token: str
    shard_bytes: int = 256 * 2**20

    @classmethod
    def of(cls, writer: StoreWriter) -> Self:
        """For a writer, as long as it is open."""
        return cls(writer.path.absolute(), writer.header, writer.token)

    def open(self) -> Filling:
        """Begin a group of tracks.

        Raises:
            StoreError: the folder is not the one that the writer keeps the index of, or the writer is gone.
        """
        if not (own_folder(self.path, PARTS) / f"{self.token}.jsonl").is_file():
            raise StoreError(
                f"{self.path} is not the folder that the main process writes to, or that has ended; on several "
                "machines give a folder that all of them share, under the same path"
            )
        return Filling(self)


class Filling:
    """A group of tracks on its way into shards.

        with filler.open() as filling:
            for id, array in tracks:
                filling.append(id, array)
            rows = filling.finish()

    Threads of a process fill shards of their own.
    """

    def __init__(self, filler: Filler) -> None:
        self._filler = filler
        self._shard: ShardWriter | None = None
        self._rows: list[dict[str, Any]] = []

    def append(
        self,
        id: str,
        array: np.ndarray,
        source: str = "",
        duration: float = float("nan"),
        checksum: str = "",
        audio_checksum: str | None = None,
    ) -> None:
        """Add one track, as :meth:`datasets.store.StoreWriter.append` does.

        Raises:
            StoreError: an array that does not belong here, or no room; the tracks before it can still be finished.
        """
        rows = checked_rows(self._filler.path, self._filler.header, id, array)
        try:
            shard = self._shard_for(rows.nbytes)
            offset = shard.append(rows)
        except OSError as error:
            raise self._failed(f"has no room for {id!r}", error) from error
        self._rows.append(index_row(id, shard.path.name, offset, rows, source, duration, checksum, audio_checksum))

    def finish(self) -> list[dict[str, Any]]:
        """Bring the tracks to disk; returns their rows of the index.

        Raises:
            StoreError: the disk refused; none of them may enter the index.
        """
        try:
            if self._shard is not None:
                self._shard.sync()
        except OSError as error:
            raise self._failed(f"lost {pluralize(len(self._rows), 'track')}", error) from error
        return self._rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shard is not None:
            self._shard.close()

    def _shard_for(self, size: int) -> ShardWriter:
        token = self._filler.token
        if self._shard is None and token in _begun.shards:
            with suppress(OSError, StoreError):  # then another one is begun
                _begun.shards[token].reopen()
                self._shard = _begun.shards[token]
        if self._shard is not None and self._shard.rows and self._shard.bytes + size > self._filler.shard_bytes:
            self._shard.sync()
            self._shard.close()
            self._shard = None
        if self._shard is None:
            folder = own_folder(self._filler.path, SHARDS)
            self._shard = _new_shard(folder, token, self._filler.header)
            if len(_begun.shards) == _STORES:
                del _begun.shards[next(iter(_begun.shards))]
            _begun.shards[token] = self._shard
            sync_folder(folder)
        return self._shard

    def _failed(self, what: str, error: OSError) -> StoreError:
        path = self._filler.path
        return StoreError(f"the store {path} {what}: {error.strerror or error}; what was committed stays readable")


def _new_shard(folder: Path, token: str, header: Header) -> ShardWriter:
    """A shard under a number that nobody has chosen yet."""
    while True:
        with suppress(FileExistsError):
            return ShardWriter(folder / shard_name(token, secrets.randbelow(_NUMBERS)), header)
