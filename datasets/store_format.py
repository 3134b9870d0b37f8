"""The files of a store: what they hold and how each is read and replaced.

    header.json          what every array is, who made it, and the fingerprint of the maker's parameters
    index.parquet        one row a track, sorted by id; written by :func:`datasets.store_merge.consolidate`
    parts/<writer>.jsonl the rows committed by one writer since then; locked (flock) while its writer lives
    shards/<writer>-<n>.npy   plain arrays ``[rows, *item_shape]``, the tracks one behind the other
    .lock                held while the header or ``index.parquet`` is replaced

The index is the truth of what exists. Shards only grow, and a row enters an index after its bytes are on disk, so a
reader never meets half a track, whatever happens to the writers.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FORMAT_VERSION = 1
KINDS = ("mel", "embeddings", "logits", "answers")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("shard", pa.dictionary(pa.int32(), pa.string())),
        ("offset", pa.int64()),  # first row in the shard
        ("length", pa.int64()),  # rows
        ("source", pa.string()),
        ("duration", pa.float64()),  # seconds, NaN = unknown
        ("checksum", pa.string()),
    ]
)
COLUMNS = tuple(SCHEMA.names)
_BLOCK = 4096


class StoreError(ValueError):
    """A store, or a file that stands for one, that cannot be read or written as asked."""


@dataclass(frozen=True)
class Header:
    """What every array of a store is.

    Attributes:
        kind: one of :data:`KINDS`.
        item_shape: shape of one row, that is of an array without its first axis: ``(96,)``, ``(3, 768)``, ``(400,)``.
        dtype: numpy name of the stored type, for instance ``float16``.
        units: what a number means, for instance ``log10(1 + 10000 * mel power)``.
        producer: JSON-able parameters of whatever computed the arrays.
        fingerprint: of those parameters; None where the maker is unknown (upstream folders).
        version: of this file format.
    """

    kind: str
    item_shape: tuple[int, ...]
    dtype: str = "float16"
    units: str = ""
    producer: Mapping[str, Any] | None = None
    fingerprint: str | None = None
    version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise StoreError(f"kind={self.kind!r}: a store holds one of {', '.join(KINDS)}")
        shape = tuple(int(size) for size in self.item_shape)
        if any(size < 1 for size in shape):
            raise StoreError(f"item_shape={shape}: every size must be at least 1")
        try:
            dtype = np.dtype(self.dtype)
        except TypeError as error:
            raise StoreError(f"dtype={self.dtype!r} is not a numpy type; use float16 or float32") from error
        if dtype.kind not in "fiub":
            raise StoreError(f"dtype={self.dtype!r}: a store holds real numbers; use float16 or float32")
        object.__setattr__(self, "item_shape", shape)
        object.__setattr__(self, "dtype", dtype.name)
        try:
            object.__setattr__(self, "producer", json.loads(json.dumps(dict(self.producer or {}))))
        except (TypeError, ValueError) as error:
            raise StoreError(f"producer: {error}; give plain numbers, texts, lists and dicts") from error

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.item_shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def read_header(path: Path) -> Header:
    """The header of the store at ``path``.

    Raises:
        StoreError: no store there, a damaged header, or one of a later format.
    """
    try:
        fields = json.loads((path / "header.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "holds no header.json" if path.is_dir() else "does not exist"
        raise StoreError(f"no store at {path}: it {what}; give the folder that was written as a store") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path / 'header.json'} cannot be read ({error}); restore it from a backup") from error
    if not isinstance(fields, dict) or fields.get("version") != FORMAT_VERSION:
        version = fields.get("version") if isinstance(fields, dict) else None
        raise StoreError(f"{path}: store format {version!r}, {FORMAT_VERSION} can be read; update, or rebuild it")
    try:
        return Header(**fields)
    except TypeError as error:
        raise StoreError(f"{path / 'header.json'} is not a store's header: {error}") from error


def create_header(path: Path, header: Header) -> Header:
    """Make ``path`` a store of ``header``, or return the header it has already; call under :func:`locked`."""
    if (path / "header.json").exists():
        return read_header(path)
    for folder in ("shards", "parts"):
        (path / folder).mkdir(exist_ok=True)
    replace_file(path / "header.json", json.dumps(asdict(header), indent=1, sort_keys=True).encode() + b"\n")
    return header


def producer_differences(found: Mapping[str, Any] | None, expected: Mapping[str, Any] | None) -> str:
    """One line with the parameters that differ, or with those of the store where there is nothing to compare with."""
    found, expected = dict(found or {}), dict(expected or {})
    if not expected:
        return f"its producer: {json.dumps(found, sort_keys=True, default=str)}"
    absent = "absent"
    keys = [key for key in sorted({*found, *expected}) if found.get(key, absent) != expected.get(key, absent)]
    if not keys:
        return "the listed parameters of both producers are equal"
    lines = [f"{key}: {found.get(key, absent)!r} in the store, {expected.get(key, absent)!r} expected" for key in keys]
    return "; ".join(lines)


def check_header(
    path: Path, found: Header, fingerprint: str | None, kind: str | None, producer: Mapping[str, Any] | None = None
) -> None:
    """Compare a store's header with what the caller needs; None means any.

    Raises:
        StoreError: naming what the store is, what is needed, and the parameters that differ.
    """
    if kind is not None and kind != found.kind:
        raise StoreError(f"{path} holds {found.kind}, {kind} is needed; give a store of {kind}")
    if fingerprint is not None and fingerprint != found.fingerprint:
        differences = producer_differences(found.producer, producer)
        raise StoreError(
            f"{path} was made by another producer: fingerprint {found.fingerprint}, needed {fingerprint} "
            f"({differences}); use the store that belongs to it, or build it again"
        )


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` aside, bring it to disk, and put it in the place of ``path``."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring a folder's entries (new names, replaced names) to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among the processes that change the store's header, its ``index.parquet`` or its list of parts."""
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path, flags: int = os.O_RDWR) -> int | None:
    """An open descriptor holding the lock of ``path``, or None while another process holds it."""
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def part_line(row: Mapping[str, Any]) -> bytes:
    """One row of a part-index; an unknown duration becomes null."""
    duration = row["duration"]
    return json.dumps({**row, "duration": None if duration != duration else duration}).encode() + b"\n"


def read_part(path: Path) -> pa.Table:
    """A part-index; a last line cut short by a killed writer does not count.

    Raises:
        StoreError: damage before the last line.
    """
    tables: list[pa.Table] = []
    rows: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                row = json.loads(line)
                row = {name: row[name] for name in COLUMNS}
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f"{path}, line {number} is damaged ({error}); delete it to lose one track") from error
            rows.append(row | {"duration": float("nan") if row["duration"] is None else row["duration"]})
            if len(rows) == _BLOCK:  # a row is ten times smaller in a table
                tables.append(rows_to_table(rows))
                rows = []
    return pa.concat_tables([*tables, rows_to_table(rows)])


def rows_to_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Index rows as a table of :data:`SCHEMA`."""
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def union(tables: list[pa.Table]) -> pa.Table:
    """All rows sorted by id; of equal ids the first one stays."""
    tables = [table for table in tables if len(table)]
    if not tables:
        return SCHEMA.empty_table()
    if len(tables) == 1 and _strictly_rising(tables[0]["id"]):
        return tables[0]
    everything = pa.concat_tables(tables).unify_dictionaries()
    order = everything.append_column("order", pa.array(np.arange(len(everything))))
    order = order.select(["id", "order"]).sort_by([("id", "ascending"), ("order", "ascending")])
    ids = order["id"].combine_chunks()
    first = np.ones(len(ids), dtype=bool)
    first[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return everything.take(pa.array(order["order"].to_numpy()[first])).combine_chunks()


def _strictly_rising(ids: pa.ChunkedArray) -> bool:
    values = ids.combine_chunks()
    return len(values) < 2 or bool(pc.all(pc.less(values[:-1], values[1:])).as_py())


def load_index(path: Path) -> pa.Table:
    """Everything committed to the store so far, sorted by id.

    Parts are read before ``index.parquet``: a part folded in between is then met in one of the two, or in both.
    """
    parts: list[pa.Table] = []
    for part in part_paths(path):
        with suppress(FileNotFoundError):
            parts.append(read_part(part))
    return union([load_parquet(path), *parts])


def load_parquet(path: Path) -> pa.Table:
    """``index.parquet``; empty where nothing was consolidated yet."""
    file = path / "index.parquet"
    try:
        table = pq.ParquetFile(file, read_dictionary=["shard"]).read()
        return table.select(COLUMNS).cast(SCHEMA).combine_chunks()
    except FileNotFoundError:
        return SCHEMA.empty_table()
    except (pa.ArrowException, OSError, KeyError) as error:
        raise StoreError(f"{file} cannot be read ({error}); restore it from a backup or rebuild the store") from error


def save_parquet(path: Path, table: pa.Table) -> None:
    """Replace ``index.parquet``; call under :func:`locked`."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=["shard"])
    replace_file(path / "index.parquet", sink.getvalue().to_pybytes())


def part_paths(path: Path) -> list[Path]:
    """The part-indexes present, by name."""
    return sorted((path / "parts").glob("*.jsonl"))
