"""Vectors that other programs wrote, an id and an array at a time: folders of `.npy`, tables of CSV or Parquet.

Nothing is unpickled: an array of objects is refused.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from datasets.npy_files import read_npy
from datasets.parquet_files import check_rows
from datasets.system_folders import files_below
from preprocess.files import storable

ID_COLUMNS = ("id", "track_id", "path", "file", "filename", "file_name", "track", "name")
ROW_NUMBERS = {"", "index", "Unnamed: 0", "__index_level_0__"}  # written by pandas, not measured
BLOCKS = pa.csv.ReadOptions(block_size=2**24)  # of a CSV file: bytes, more than the widest row
TABLES = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet"}


class ForeignError(ValueError):
    """Features of another program that cannot be taken as they are."""


class ForeignVectors(Protocol):
    """Where vectors come from; their ids are known before any is read.

    Attributes:
        path: File or folder.
        layout: Key of `LAYOUTS`.
        ids: Of all tracks, none of them twice, in the order of the iteration.
    """

    path: Path
    layout: str
    ids: Sequence[str]

    def __iter__(self) -> Iterator[tuple[str, np.ndarray, str]]:
        """Yield id, float array [rows, values], and the file that it is from."""


class NpyFolder:
    """A file a track, `[values]` or `[rows, values]`: the layout of jukemir. Ids are paths below it without suffix."""

    layout = "npy"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            found = [Path(one.path) for one in files_below(path) if not one.is_dir()]
        except OSError as error:
            raise ForeignError(f"{error.filename}: {error.strerror}; let it be read, or leave it out") from error
        self._files = sorted(one for one in found if one.suffix == ".npy")
        if not self._files:
            others = Counter(one.suffix or one.name for one in found)
            what = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(3)) or "nothing"
            raise ForeignError(f"{path}: no .npy file in this folder, only {what}; give the folder of the vectors")
        self.ids = [storable(one.relative_to(path).with_suffix("").as_posix()) for one in self._files]

    def __iter__(self) -> Iterator[tuple[str, np.ndarray, str]]:
        for id, file in zip(self.ids, self._files, strict=True):
            yield id, _rows(_loaded(file), str(file)), storable(file)


def _loaded(file: Path) -> np.ndarray:
    try:
        if not file.is_file():
            raise ValueError("not a plain file")
        return read_npy(file)
    except ValueError as error:
        raise ForeignError(
            f"{file}: {error}; save plain numbers, as np.save(file, array.astype('float32')) does"
        ) from None


def _rows(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
        raise ForeignError(
            f"{where}: {array.dtype} of shape {list(array.shape)}; expected numbers [values], or [rows, values]"
        )
    return np.atleast_2d(array)


class Table:
    """A row a track: a column of ids, and a column a value or one column of lists; `texts` are passed over."""

    def __init__(self, path: Path, layout: str, id_column: str | None, columns: Sequence[str] | None) -> None:
        self.path, self.layout = path, layout
        schema = self._schema()
        if repeated := [name for name, times in Counter(schema.names).items() if times > 1]:
            raise ForeignError(f"{path}: two columns are called {repeated[0]!r}; give each its own name")
        self.id_column = _id_column(path, schema, id_column)
        self.columns = _value_columns(path, schema, self.id_column, columns)
        self.texts = [name for name in schema.names if _is_text(schema.field(name).type) and name != self.id_column]
        if not columns and layout == "csv":
            self._refuse_spoilt(self.texts)
        self.ids = [id for batch in self._batches([self.id_column]) for id in self._ids(batch)]
        if not self.ids:
            raise ForeignError(f"{path}: a table without rows; were the features written?")
        lacking = [number for number, id in enumerate(self.ids, start=1) if not id]
        if lacking:
            raise ForeignError(f"{path}: row {lacking[0]} has no id in column {self.id_column!r}; every row needs one")
        if len(set(self.ids)) < len(self.ids):
            id, times = Counter(self.ids).most_common(1)[0]
            raise ForeignError(f"{path}: {times} rows have the id {id!r}; expected one row a track: average them first")

    def __iter__(self) -> Iterator[tuple[str, np.ndarray, str]]:
        for batch in self._batches([self.id_column, *self.columns]):
            values = _values(self.path, batch, self.columns)
            for id, row in zip(self._ids(batch), values, strict=True):
                yield id, _rows(row, f"{self.path}, {id!r}"), storable(self.path)

    def _refuse_spoilt(self, texts: Sequence[str]) -> None:
        """Refuse a column of numbers that a word or two made a column of texts: it would be missed by nobody."""
        with pa.csv.open_csv(self.path, BLOCKS, self._parsing()) as reader:
            head = reader.read_next_batch()
        for name in texts:
            cells = [cell for cell in head.column(name).to_pylist() if cell]
            words = [cell for cell in cells if not _is_numeral(cell)]
            if len(words) < len(cells) / 2:
                raise ForeignError(
                    f"{self.path}: column {name!r} holds {len(cells) - len(words)} numbers, but also {words[0]!r}, no "
                    f"number where one belongs; mend it, or name the features with --columns A,B,C"
                )

    def _ids(self, batch: pa.RecordBatch) -> list[str]:
        return [storable(id or "") for id in batch.column(self.id_column).cast(pa.string()).to_pylist()]

    def _schema(self) -> pa.Schema:
        try:
            if self.layout == "parquet":
                with pq.ParquetFile(self.path) as file:
                    check_rows(file, self.path.stat().st_size)
                    return file.schema_arrow
            return pa.csv.open_csv(self.path, BLOCKS, self._parsing()).schema
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ForeignError(f"{self.path}: no {self.layout} table can be read ({_line(error)})") from error

    def _parsing(self) -> pa.csv.ParseOptions:
        with self.path.open(encoding="utf-8", errors="replace", newline="") as file:
            head = file.readline()
        try:
            return pa.csv.ParseOptions(delimiter=csv.Sniffer().sniff(head, ",;\t").delimiter)
        except csv.Error:
            return pa.csv.ParseOptions(delimiter="\t" if self.path.suffix == ".tsv" else ",")

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        try:
            if self.layout == "parquet":
                with pq.ParquetFile(self.path) as file:
                    yield from file.iter_batches(2048, columns=list(columns))
                return
            types = {column: pa.float64() for column in columns} | {self.id_column: pa.string()}
            kept = pa.csv.ConvertOptions(column_types=types, include_columns=list(columns))
            yield from pa.csv.open_csv(self.path, BLOCKS, self._parsing(), kept)
        except (pa.ArrowException, OSError) as error:
            raise ForeignError(f"{self.path}: damaged, or no number where one belongs ({_line(error)})") from error


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_numeral(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and _is_number(kind.value_type)


def _id_column(path: Path, schema: pa.Schema, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in schema.names:
            raise ForeignError(f"{path}: no column {wanted!r} for the ids; there are {_shown(schema.names)}")
        return wanted
    usual = [name for name in ID_COLUMNS if name in schema.names]
    texts = [name for name in schema.names if _is_text(schema.field(name).type)]
    if usual or len(texts) == 1:
        return usual[0] if usual else texts[0]
    raise ForeignError(
        f"{path}: which column has the ids of the tracks? Say --id COLUMN; there are {_shown(schema.names)}"
    )


def _value_columns(path: Path, schema: pa.Schema, id_column: str, wanted: Sequence[str] | None) -> list[str]:
    lists = [name for name in schema.names if _is_list(schema.field(name).type)]
    numbers = [name for name in schema.names if _is_number(schema.field(name).type) and name != id_column]
    if wanted:
        wrong = [name for name in wanted if name not in lists + numbers]
        if wrong:
            raise ForeignError(f"{path}: {wrong[0]!r} is no column of numbers; there are {_shown(numbers + lists)}")
        found = list(wanted)
    else:
        found = lists or [name for name in numbers if name not in ROW_NUMBERS]
    if not found or (len(found) > 1 and set(found) & set(lists)):
        what = f"several columns of lists ({_shown(lists)}): choose one" if lists else "no column of numbers"
        raise ForeignError(f"{path}: {what}; name the features with --columns A,B,C")
    return found


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:8])) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")


def _values(path: Path, batch: pa.RecordBatch, columns: Sequence[str]) -> Sequence[np.ndarray]:
    """The vectors of a batch; an empty cell is NaN."""
    first = batch.column(columns[0])
    if not _is_number(first.type):
        if first.null_count:
            id = batch.column(0)[int(np.flatnonzero(first.is_null())[0])]
            raise ForeignError(f"{path}: {str(id)!r} has no vector in column {columns[0]!r}; leave such rows out")
        return [np.asarray(row.values.to_numpy(zero_copy_only=False)) for row in first]
    return np.stack([_column(batch.column(name)) for name in columns], axis=1)


def _column(values: pa.Array) -> np.ndarray:
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def open_vectors(
    path: Path, layout: str | None = None, id_column: str | None = None, columns: Sequence[str] | None = None
) -> ForeignVectors:
    """Open what another program wrote.

    Args:
        path: A folder of `.npy`, or a table.
        layout: Key of `LAYOUTS`; None: by suffix.
        id_column: Of a table; None: one of `ID_COLUMNS`, else the only column of texts.
        columns: The values of a table; None: its column of lists, else all columns of numbers.

    Raises:
        ForeignError: It is not there, of no known layout, empty, or its ids are not one a track.
    """
    if not path.exists():
        raise ForeignError(f"{path}: no such file or folder; give a folder of .npy, or a .csv, .tsv or .parquet file")
    layout = layout or ("npy" if path.is_dir() else TABLES.get(path.suffix.lower()))
    if layout is None:
        raise ForeignError(f"{path}: which layout is this? Say --layout; known: {', '.join(LAYOUTS)}")
    layout = LAYOUTS[layout]
    if path.is_dir() != (layout == "npy"):
        expected = "a folder of .npy files" if layout == "npy" else f"one {layout} file"
        raise ForeignError(
            f"{path}: --layout {layout} takes {expected}, this is a {'folder' if path.is_dir() else 'file'}"
        )
    if layout == "npy":
        if id_column or columns:
            raise ForeignError("--id and --columns are about tables: ids of .npy files are their names")
        return NpyFolder(path)
    return Table(path, layout, id_column, columns)


LAYOUTS = {"npy": "npy", "jukemir": "npy", "csv": "csv", "parquet": "parquet"}  # what is said, and what it is
