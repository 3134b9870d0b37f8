"""The one array store: every array that outlives a run, with random access to any piece of any track.

A store is a folder of plain ``.npy`` shards, a Parquet index and a JSON header (see :mod:`datasets.store_format`). It
holds features ``[frames, bands]``, audio ``[samples]`` in int16 or float32, embeddings ``[windows, tokens, dim]``,
logits or predictions ``[windows, classes]``.

    with StoreWriter(folder, Header("mel", (96,), producer=parameters, fingerprint=fingerprint)) as writer:
        for id, mel in tracks:
            if id not in writer.done:
                writer.append(id, mel)

    store = Store(folder, fingerprint=frontend.fingerprint)
    crop = store.read_crop("album/song.mp3", start=1000, length=1875)
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from reprlib import repr as shown
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from datasets.store_files import HEADER, SHARDS, StoreError, file_size, own_folder
from datasets.store_format import Header, check_header, read_header
from datasets.store_index import load_index
from datasets.store_merge import consolidate, merge
from datasets.store_shard import MappedShard
from datasets.store_writer import StoreWriter
from datasets.windows import pad_centred

__all__ = ["Header", "Reader", "Store", "StoreError", "StoreWriter", "consolidate", "merge", "stated"]


class Reader(Protocol):
    """What a sampler or an extraction needs of a store, or of a folder that stands for one."""

    header: Header
    path: Path

    @property
    def ids(self) -> list[str]:
        """All track ids, sorted."""

    def length(self, id: str) -> int:
        """Rows of a track."""

    def read(self, id: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows ``start`` to ``stop`` of a track, read-only."""

    def read_crop(self, id: str, start: int, length: int) -> np.ndarray:
        """A new array of ``length`` rows from ``start`` on, centred in ``header.fill`` where there are fewer."""


_EXPECTED: dict[str, Callable[[Any], bool]] = {
    "a text": lambda value: isinstance(value, str),
    "a list of texts": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "a number above 0": lambda value: type(value) in (int, float) and 0 < value < 2**53,
    "a number of a block": lambda value: type(value) is int and 0 <= value < 2**53,
    "a mapping": lambda value: isinstance(value, dict),
}


def stated(reader: Reader | StoreWriter, key: str, expected: str, default: Any = None) -> Any:
    """What the header of a store says of its producer under a key; ``default`` where it says nothing.

    Args:
        reader: of the store.
        key: of the producer's parameters.
        expected: key of the table above.
        default: what is understood where the header is silent.

    Raises:
        StoreError: it says something of another type.
    """
    value = (reader.header.producer or {}).get(key)
    if value is None:
        return default
    if not _EXPECTED[expected](value):
        raise StoreError(
            f"{reader.path / HEADER}: producer.{key} is {shown(value)}, expected {expected}; restore the file, or "
            "rebuild the store"
        )
    return value


def check_range(id: str, start: int, stop: int, rows: int) -> None:
    """Refuse a range that is empty or leaves the track."""
    if not 0 <= start < stop <= rows:
        raise StoreError(f"{id!r} has rows 0 to {rows}; {start} to {stop} asked for")


class Store:
    """A store opened for reading: a snapshot of what was committed when it was opened.

    Opening reads the index only; shards are mapped when they are first needed. It can be sent to worker processes,
    which then map the shards themselves, whatever their working directory.

    Args:
        path: folder of the store.
        fingerprint: which one the store must have; None = any.
        kind: which one the store must have; None = any.
        producer: parameters behind ``fingerprint``, to say what differs.

    Attributes:
        header: what the arrays are.
        path: of the folder.

    Raises:
        StoreError: no store there, damage, or another fingerprint or kind than asked for.
    """

    def __init__(
        self,
        path: str | Path,
        fingerprint: str | None = None,
        kind: str | None = None,
        producer: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.header = read_header(self.path)
        check_header(self.path, self.header, fingerprint, kind, producer)
        own_folder(self.path, SHARDS)
        self._open(load_index(self.path))

    def _open(self, table: pa.Table) -> None:
        self._table = table
        self._row_bytes = self.header.row_bytes
        self._id_column = _plain(table["id"], pa.string())
        shards = _plain(table["shard"], table.schema.field("shard").type)
        self._shard_names = shards.dictionary.to_pylist()
        self._shard_of = shards.indices.to_numpy()
        self._offsets, self._lengths = table["offset"].to_numpy(), table["length"].to_numpy()
        self._mapped: dict[int, MappedShard] = {}
        self._sizes: dict[int, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path.absolute(), "header": self.header, "table": self._table}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.header = state["path"], state["header"]
        self._open(state["table"])

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} tracks, {self.header.kind} {list(self.header.item_shape)})"

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._find(id) is not None

    @cached_property
    def ids(self) -> list[str]:
        """All track ids, sorted."""
        return self._id_column.to_pylist()

    def table(self) -> pa.Table:
        """The index: id, shard, offset, length, source, duration, checksum, audio_checksum; sorted by id."""
        return self._table

    def row(self, id: str) -> dict[str, Any]:
        """One track's row of the index."""
        return self._table.slice(self._position(id), 1).to_pylist()[0]

    def length(self, id: str) -> int:
        """Rows (frames, samples, windows) of a track.

        Raises:
            StoreError: an unknown id, or its shard is smaller than that.
        """
        position = self._position(id)
        number, rows = int(self._shard_of[position]), int(self._lengths[position])
        size = self._sizes.get(number)
        if size is None:
            size = self._sizes[number] = self._size(number)
        if (int(self._offsets[position]) + rows) * self._row_bytes > size:
            raise self._cut_short(position)
        return rows

    def read(self, id: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows ``start`` to ``stop`` (default: the end) of a track: a read-only view of the mapped shard.

        Only what is looked at is read from disk.

        Raises:
            StoreError: an unknown id, rows outside the track, or a damaged shard.
        """
        position = self._position(id)
        shard, first, length = self._place(position)
        stop = length if stop is None else stop
        check_range(id, start, stop, length)
        return shard.rows[first + start : first + stop]

    def read_crop(self, id: str, start: int, length: int) -> np.ndarray:
        """A new array ``[length, *item_shape]`` with the rows from ``start`` on, centred in ``header.fill``.

        Raises:
            StoreError: an unknown id, a start outside the track, or a damaged shard.
        """
        shard, first, rows = self._place(self._position(id))
        stop = min(start + length, rows)
        check_range(id, start, stop, rows)
        if stop - start == length:
            return shard.copy(first + start, first + stop)
        return pad_centred(shard.rows[first + start : first + stop], length, self.header.fill)

    def _place(self, position: int) -> tuple[MappedShard, int, int]:
        """A track's shard, first row there, and number of rows."""
        number = int(self._shard_of[position])
        shard = self._mapped.get(number) or self._map(number)
        first, rows = int(self._offsets[position]), int(self._lengths[position])
        if first + rows > len(shard.rows):
            raise self._cut_short(position)
        return shard, first, rows

    def _cut_short(self, position: int) -> StoreError:
        file, id = self._shard_path(int(self._shard_of[position])), self._id_column[position]
        return StoreError(f"shard {file} is cut short: {str(id)!r} is not whole; restore it or rebuild the store")

    def _shard_path(self, number: int) -> Path:
        return own_folder(self.path, SHARDS) / self._shard_names[number]

    def _size(self, number: int) -> int:
        """Bytes of a shard."""
        file = self._shard_path(number)
        try:
            return file_size(file)
        except OSError as error:
            raise StoreError(f"shard {file}: {error.strerror}; restore it or rebuild the store") from error

    def _map(self, number: int) -> MappedShard:
        while len(self._mapped) >= _most_mapped():
            del self._mapped[next(iter(self._mapped))]
        self._mapped[number] = MappedShard(self._shard_path(number), self.header)
        return self._mapped[number]

    def _position(self, id: str) -> int:
        position = self._find(id)
        if position is None:
            example = f", for instance {self._id_column[0].as_py()!r}" if len(self) else ""
            raise StoreError(f"{id!r} is not in {self.path}, which holds {len(self)} tracks{example}")
        return position

    @cached_property
    def _hashes(self) -> tuple[np.ndarray, np.ndarray]:
        """Hashes of all ids, sorted, and whose they are: 16 bytes a track where a dict would take some 200."""
        hashes = np.empty(len(self), dtype=np.int64)
        for first in range(0, len(self), 2**16):
            block = self._id_column[first : first + 2**16].to_pylist()
            hashes[first : first + len(block)] = [hash(id) for id in block]
        order = np.argsort(hashes)
        return hashes[order], order

    def _find(self, id: str) -> int | None:
        hashes, order = self._hashes
        wanted = hash(id)
        place = int(hashes.searchsorted(wanted))
        while place < len(hashes) and hashes[place] == wanted:
            if self._id_column[order[place]].as_py() == id:
                return int(order[place])
            place += 1
        return None


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    return column.combine_chunks() if column.num_chunks else pa.array([], type=kind)


def _most_mapped() -> int:
    """Shards kept open at once (two file descriptors each): a quarter of what the process may open."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**16 if allowed == resource.RLIM_INFINITY else max(allowed // 8, 1)
