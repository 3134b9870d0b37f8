"""The index of a store: which rows of which shard are a track's, read, checked and written.

Whatever an index states is checked once when it is read, all rows at a time: names of shards, types, ranges, and that
no two tracks share a row. What is left for later is whether a shard has as many rows as the index states.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from reprlib import repr as shown
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datasets.parquet_files import check_rows
from datasets.store_files import INDEX, StoreError, file_size, open_file, part_paths, replace_file, shard_token

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("shard", pa.dictionary(pa.int32(), pa.string())),
        ("offset", pa.int64()),  # first row in the shard
        ("length", pa.int64()),  # rows
        ("source", pa.string()),
        ("duration", pa.float64()),  # seconds, NaN = unknown
        ("checksum", pa.string()),  # of the rows
        ("audio_checksum", pa.string()),  # of the audio file behind them, null = unknown
    ]
)
COLUMNS = tuple(SCHEMA.names)
_NULLABLE = ("audio_checksum",)  # stores made before have no such column
MOST_ROWS = 2**40  # of a shard: more than any disk holds
_BLOCK = 4096
_LONGEST_LINE = 2**20  # bytes: a path has 4,096 at most


def part_line(row: Mapping[str, Any]) -> bytes:
    """One row of a part-index; an unknown duration becomes null."""
    duration = row["duration"]
    return json.dumps({**row, "duration": None if duration != duration else duration}).encode() + b"\n"


def read_part(path: Path) -> pa.Table:
    """A part-index; a last line cut short by a killed writer does not count.

    Raises:
        StoreError: damage before the last line, or rows of shards that are not this writer's.
    """
    tables: list[pa.Table] = []
    rows: list[dict[str, Any]] = []
    number = 0
    with open(open_file(path), "rb") as file:
        while (line := file.readline(_LONGEST_LINE)).endswith(b"\n"):
            number += 1
            try:
                rows.append(_part_row(line))
                if len(rows) == _BLOCK:  # a row is ten times smaller in a table
                    tables.append(rows_to_table(rows))
                    rows = []
            except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError, pa.ArrowException) as error:
                raise _damaged_line(path, number, error) from error
        if len(line) == _LONGEST_LINE:
            raise _damaged_line(path, number + 1, f"more than {_LONGEST_LINE} bytes")
    try:
        tables.append(rows_to_table(rows))
    except (ValueError, pa.ArrowException) as error:
        raise _damaged_line(path, number, error) from error
    return _checked(pa.concat_tables(tables), path, path.stem)


def _part_row(line: bytes) -> dict[str, Any]:
    row = json.loads(line)
    offset, length, duration = row["offset"], row["length"], row["duration"]
    if type(offset) is not int or type(length) is not int or not (0 <= offset < MOST_ROWS and 0 < length < MOST_ROWS):
        raise ValueError(f"offset {shown(offset)} and length {shown(length)} are no place in a shard")
    row = {name: row.get(name) if name in _NULLABLE else row[name] for name in COLUMNS}
    if type(row["audio_checksum"]) not in (str, type(None)):
        raise ValueError("audio_checksum must be a text or null")
    if not (type(row["id"]) is type(row["shard"]) is type(row["source"]) is type(row["checksum"]) is str):
        raise ValueError("id, shard, source and checksum must be texts")
    if type(duration) not in (float, int, type(None)):
        raise ValueError(f"duration {shown(duration)} is no number of seconds")
    row["duration"] = float("nan") if duration is None else float(duration)
    return row


def _damaged_line(path: Path, number: int, error: object) -> StoreError:
    what = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0]
    return StoreError(f"{path}, line {number} is damaged ({what}); delete it to lose one track")


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

    Raises:
        StoreError: damage, or an index that no writer makes.
    """
    parts: list[pa.Table] = []
    for part in part_paths(path):
        with suppress(FileNotFoundError):
            parts.append(read_part(part))
    return check_disjoint(union([load_parquet(path), *parts]), path)


def load_parquet(path: Path) -> pa.Table:
    """``index.parquet``; empty where nothing was consolidated yet.

    Raises:
        StoreError: damage, or an index that no writer makes.
    """
    file = path / INDEX
    try:
        size = file_size(file)  # opened again below by its path: Arrow's threads may outlive what is of Python
        with pq.ParquetFile(file, read_dictionary=["shard"], page_checksum_verification=True) as parquet:
            check_rows(parquet, size)
            stored = set(parquet.schema_arrow.names)
            table = parquet.read(columns=[name for name in COLUMNS if name in stored or name not in _NULLABLE])
            for name in (name for name in _NULLABLE if name not in stored):
                table = table.append_column(name, pa.nulls(len(table), pa.string()))
            table = table.select(COLUMNS).cast(SCHEMA).combine_chunks()
    except FileNotFoundError:
        return SCHEMA.empty_table()
    except StoreError:
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError) as error:
        raise _damaged(file, str(error).partition("\n")[0]) from error
    return _checked(table, file)


def save_parquet(path: Path, table: pa.Table) -> None:
    """Replace ``index.parquet``; call under ``locked``."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=["shard"], write_page_checksum=True)
    replace_file(path / INDEX, sink.getvalue().to_pybytes())


def _checked(table: pa.Table, file: Path, token: str | None = None) -> pa.Table:
    """Refuse rows that no writer makes; those of a part belong to shards of its own writer, ``token``."""
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise _damaged(file, str(error).partition("\n")[0]) from error
    empty = [name for name in COLUMNS if name not in _NULLABLE and table[name].null_count]
    if empty:
        raise _damaged(file, f"a row without {empty[0]}")
    for name in {name for chunk in table["shard"].chunks for name in chunk.dictionary.to_pylist()}:
        found = shard_token(name) if name else None
        if found is None or token not in (None, found):
            whose = "the name of a shard" if found is None else f"a shard of {file.name}"
            raise _damaged(file, f"{shown(name)} is not {whose}")
    for name, least in (("offset", 0), ("length", 1)):
        ends = pc.min_max(table[name]).as_py()
        if len(table) and not (least <= ends["min"] and ends["max"] < MOST_ROWS):
            wrong = ends["min"] if ends["min"] < least else ends["max"]
            raise _damaged(file, f"a track with {name} {wrong}; expected {least} or more, below {MOST_ROWS}")
    return table


def check_disjoint(table: pa.Table, path: Path) -> pa.Table:
    """Refuse an index of which two tracks share a row of a shard.

    Both the first rows and the ends are sorted: where nothing overlaps, the next track begins at or behind each end.
    """
    if not len(table):
        return table
    shards, offsets = table["shard"].combine_chunks(), table["offset"].to_numpy()
    ends = offsets + table["length"].to_numpy()
    span = int(ends.max()) + 1
    if span * len(shards.dictionary) >= 2**63:
        raise _damaged(path, f"a track that ends at row {span - 1} of its shard")
    base = shards.indices.to_numpy().astype(np.int64) * span
    if (np.sort(base + ends)[:-1] > np.sort(base + offsets)[1:]).any():
        order = np.argsort(base + offsets, kind="stable")
        latest = np.maximum.accumulate((base + ends)[order])
        at = int(np.flatnonzero(latest[:-1] > (base + offsets)[order][1:])[0])
        first, second = (shown(table["id"][int(order[place])].as_py()) for place in (at, at + 1))
        raise _damaged(path, f"{first} and {second} share rows of a shard")
    return table


def _damaged(file: Path, what: str) -> StoreError:
    return StoreError(f"{file} cannot be read ({what}); restore it from a backup or rebuild the store")
