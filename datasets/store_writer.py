"""Adding tracks to a store, from any number of processes at once."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from datasets.store_files import (
    PARTS,
    SHARDS,
    StoreError,
    locked,
    new_token,
    own_folder,
    shard_name,
    sync_folder,
    try_lock,
)
from datasets.store_format import Header, check_header, create_header
from datasets.store_index import load_index, part_line
from datasets.store_merge import consolidate_if_idle
from datasets.store_shard import ShardWriter, write_all
from datasets.text import pluralize

_COMMIT_BYTES = 64 * 2**20
_COMMIT_TRACKS = 4096
_COMMIT_SECONDS = 5.0
_LONGEST = 2**15  # letters of an id and its source: their line of a part-index can be read again


class StoreWriter:
    """Appends arrays to the store at ``path``; one writer a process, any number of processes.

    A writer fills shards of its own and keeps a part-index of its own. What was committed survives ``kill -9`` and a
    power cut; what was not is forgotten. The last of several writers to close folds the part-indexes into
    ``index.parquet``.

    Args:
        path: folder of the store; created, or opened to append to.
        header: what the arrays are.
        shard_bytes: size at which a new shard is begun.
        before_commit: called before tracks become durable, to write down what must not be missing beside them.

    Attributes:
        done: ids that are stored safely; leave them out when resuming.
        token: the name of its part-index, and the beginning of the names of its shards.

    Raises:
        StoreError: the folder holds a store of something else, or cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        header: Header,
        shard_bytes: int = 256 * 2**20,
        before_commit: Callable[[], object] = lambda: None,
    ) -> None:
        self.path, self._shard_bytes, self._before_commit = Path(path), shard_bytes, before_commit
        self.token, self._process = new_token(), os.getpid()
        self._shard: ShardWriter | None = None
        self._shard_count = 0
        self._pending: list[dict[str, Any]] = []
        self._pending_ids: set[str] = set()
        self._pending_bytes, self._last_commit = 0, time.monotonic()
        self._part: int | None = None
        self._failure = ""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with locked(self.path):
                self.header = create_header(self.path, header)
                self._check_same(header)
                part = own_folder(self.path, PARTS) / f"{self.token}.jsonl"
                self._part = try_lock(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
                sync_folder(part.parent)
        except OSError as error:
            self._release()
            raise self._failed("cannot be opened for writing", error) from error
        try:
            self.done: set[str] = set(load_index(self.path)["id"].to_pylist())
        except BaseException:
            with locked(self.path):
                part.unlink(missing_ok=True)
            self._release()
            raise

    def append(
        self,
        id: str,
        array: np.ndarray,
        source: str = "",
        duration: float = float("nan"),
        checksum: str = "",
        audio_checksum: str | None = None,
    ) -> None:
        """Add one track; every few seconds or 64 MiB this commits.

        Args:
            id: of the track, new to the store.
            array: ``[rows, *item_shape]``, cast to the store's type; every value finite after the cast.
            source: path of what it was computed from.
            duration: of the source in seconds.
            checksum: of the source; without one, the CRC-32 of the stored bytes is kept as ``crc32:...``.
            audio_checksum: of the audio file behind it; None where that is not known.

        Raises:
            StoreError: an array that does not belong here, an id that is there already, or no room. After no room
                the store holds every track appended before, once :meth:`close` has returned.
        """
        self._check_usable()
        self._check_entry(id, source, checksum, audio_checksum)
        if id in self.done or id in self._pending_ids:
            raise StoreError(f"{self.path}: {id!r} is stored already; leave out the ids in `done`")
        rows = checked_rows(self.path, self.header, id, array)
        try:
            shard = self._shard_for(rows.nbytes)
            offset = shard.append(rows)
        except OSError as error:
            raise self._failed(f"has no room for {id!r}", error) from error
        self._pending.append(index_row(id, shard.path.name, offset, rows, source, duration, checksum, audio_checksum))
        self._pending_ids.add(id)
        self._pending_bytes += rows.nbytes
        much = self._pending_bytes >= _COMMIT_BYTES or len(self._pending) >= _COMMIT_TRACKS
        if much or time.monotonic() - self._last_commit >= _COMMIT_SECONDS:
            self.commit()

    def adopt(self, rows: Sequence[dict[str, Any]]) -> None:
        """Enter tracks that others put into shards of this writer's token, and commit; ids that are there are left out.

        Args:
            rows: of the index, as :meth:`datasets.store_filling.Filling.finish` gives them.

        Raises:
            StoreError: an id that cannot be one, or the disk refused.
        """
        self._check_usable()
        for row in rows:
            self._check_entry(row["id"], row["source"], row["checksum"], row["audio_checksum"])
            if row["id"] not in self.done and row["id"] not in self._pending_ids:
                self._pending.append(row)
                self._pending_ids.add(row["id"])
        self.commit()

    def commit(self) -> None:
        """Make everything appended so far durable and visible to new readers.

        Raises:
            StoreError: the disk refused; the tracks since the last commit are lost and the writer is done.
        """
        self._check_usable()
        self._last_commit = time.monotonic()
        if not self._pending:
            return
        self._before_commit()
        end = os.fstat(self._part).st_size
        try:
            if self._shard is not None:
                self._shard.sync()
            write_all(self._part, memoryview(b"".join(map(part_line, self._pending))))
            os.fsync(self._part)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._part, end)
            self._failure = error.strerror or str(error)
            raise self._failed(f"lost {pluralize(len(self._pending), 'track')} not committed yet", error) from error
        self.done |= self._pending_ids
        self._pending, self._pending_ids, self._pending_bytes = [], set(), 0

    def close(self) -> None:
        """Commit and let go of the store; the last writer to close consolidates the index."""
        if self._part is None:
            return
        try:
            if not self._failure:
                self.commit()
        finally:
            self._release()
        try:
            consolidate_if_idle(self.path)
        except OSError as error:
            raise self._failed("keeps its part-indexes: index.parquet cannot be replaced", error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            with suppress(StoreError):  # the error under way says more
                self.close()

    def _check_entry(self, id: str, source: str, *checksums: str | None) -> None:
        if not isinstance(id, str) or not id or _readable(id) != id:
            raise StoreError(f"{self.path}: a track's id must be a text that is not empty and valid UTF-8, not {id!r}")
        if len(id) + len(str(source)) + sum(len(str(one)) for one in checksums) > _LONGEST:
            raise StoreError(f"{self.path}: {id[:60]!r}... or its source has more than {_LONGEST} letters; shorten it")

    def _shard_for(self, size: int) -> ShardWriter:
        if self._shard is not None and self._shard.rows and self._shard.bytes + size > self._shard_bytes:
            self.commit()
            self._shard.close()
            self._shard = None
        if self._shard is None:
            shards = own_folder(self.path, SHARDS)
            self._shard = ShardWriter(shards / shard_name(self.token, self._shard_count), self.header)
            self._shard_count += 1
            sync_folder(shards)
        return self._shard

    def _check_same(self, header: Header) -> None:
        check_header(self.path, self.header, header.fingerprint, header.kind, header.producer)
        for name in ("item_shape", "dtype", "fill"):
            found, wanted = getattr(self.header, name), getattr(header, name)
            if found != wanted:
                raise StoreError(f"{self.path} has {name}={found}, {wanted} is to be written; use another folder")

    def _check_usable(self) -> None:
        if self._part is None:
            raise StoreError(f"{self.path}: this writer is closed; open another one")
        if self._failure:
            raise StoreError(f"{self.path}: this writer failed ({self._failure}); make room and open another one")
        if os.getpid() != self._process:
            raise StoreError(f"{self.path}: a writer belongs to the process that opened it; open one in each process")

    def _failed(self, what: str, error: OSError) -> StoreError:
        return StoreError(f"the store {self.path} {what}: {error.strerror or error}; what was committed stays readable")

    def _release(self) -> None:
        if self._shard is not None:
            self._shard.close()
        if self._part is not None:
            os.close(self._part)
        self._shard = self._part = None


def checked_rows(path: Path, header: Header, id: str, array: np.ndarray) -> np.ndarray:
    """``array`` as the store at ``path`` keeps it: ``[rows, *item_shape]``, contiguous, in its type.

    Raises:
        StoreError: it has another shape or type, or a value that is not finite.
    """
    array, wanted = np.asarray(array), np.dtype(header.dtype)
    if array.ndim != 1 + len(header.item_shape) or array.shape[1:] != header.item_shape or not len(array):
        raise StoreError(f"{id!r} has shape {array.shape}: {path} takes [1 or more, *{header.item_shape}]")
    if not np.can_cast(array.dtype, wanted, "same_kind"):
        raise StoreError(f"{id!r} is {array.dtype}: {path} takes {wanted}")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(array, dtype=wanted)
    if not _all_finite(rows):
        finite = np.isfinite(rows)
        where = tuple(int(axis) for axis in np.argwhere(~finite)[0])
        raise StoreError(
            f"{id!r} has {int((~finite).sum())} values that are not finite as {wanted}, the first at {where} "
            f"({array[where]}); leave the track out or mend its source"
        )
    return rows


def index_row(
    id: str,
    shard: str,
    offset: int,
    rows: np.ndarray,
    source: str,
    duration: float,
    checksum: str,
    audio_checksum: str | None,
) -> dict[str, Any]:
    """The row of the index of ``rows`` that lie at ``offset`` of a shard."""
    row = {"id": id, "shard": shard, "offset": offset, "length": len(rows), "source": _readable(str(source))}
    row |= {"duration": float(duration), "checksum": str(checksum) or f"crc32:{zlib.crc32(rows):08x}"}
    return row | {"audio_checksum": str(audio_checksum) if audio_checksum else None}


def _all_finite(rows: np.ndarray) -> bool:
    if rows.dtype != np.float16:
        return bool(np.isfinite(rows).all())
    return bool((rows.view(np.uint16) & 0x7FFF).max() < 0x7C00)  # the bits of infinity; numpy's test is 15 times slower


def _readable(text: str) -> str:
    """``text`` with what is not valid in UTF-8 (bytes of an undecodable file name) spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
