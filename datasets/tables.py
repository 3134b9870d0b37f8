"""Tables of annotations as files: CSV, TSV, Parquet, JSON and JSON lines behind one form.

Of CSV there are as many kinds as spreadsheets: fields are parted by commas, semicolons or tabs, as the first line tells
(`sep=;` does so outright), the text is UTF-8 or UTF-16, and rows without anything in them are passed over. A cell is a
text, a tuple of texts (a list in Parquet or JSON), or None where nothing is written. What the columns mean is decided
in :mod:`datasets.corpus`.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import plain_json
from datasets.csv_writing import bare
from datasets.text import pluralize, shown

Cell = str | tuple[str, ...] | None
PATH = "path"
LABELS = "labels"
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons"}
DIRECTIVE = re.compile(r"\s*sep=([,;\t])[\r\n]", re.IGNORECASE)  # the first line that Excel reads and does not show
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")


class CorpusError(ValueError):
    """Annotations that cannot be used; the message names the file, the row or the column."""


@dataclass(frozen=True)
class Sheet:
    """A table as it is written.

    Attributes:
        file: Where it was read.
        columns: Names of the columns, in order.
        rows: Where a row stands ("line 3"), and its cells by column; a column that is absent holds nothing.
        hint: Said where a column is missed: how columns are told apart in such a file.
        decimal_commas: Whether a comma in a number is a decimal one, as it is where semicolons part the fields.
    """

    file: Path
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, Mapping[str, Cell]]]
    hint: str = ""
    decimal_commas: bool = False

    def column(self, name: str) -> str | None:
        """The column of this name; without regard to case where none is spelled just so and one is alike."""
        if name in self.columns:
            return name
        alike = [column for column in self.columns if column.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 else None

    def cells(self, column: str) -> Iterable[Cell]:
        """All cells of a column."""
        return (cells.get(column) for _, cells in self.rows)


def read_sheet(file: Path) -> Sheet:
    """Read a table; its suffix says what it is, and any other suffix than those of `READERS` is taken for CSV.

    Raises:
        CorpusError: No such file, or it is not what its suffix says.
    """
    if not file.is_file():
        what = "a folder, not a table" if file.is_dir() else "no such table"
        raise CorpusError(f"{file}: {what} of annotations; give a file ({', '.join(READERS)})")
    if file.suffix.lower() in WORKBOOKS:
        raise CorpusError(f"{file}: a workbook of a spreadsheet; save its sheet as 'CSV UTF-8' and give that")
    try:
        return READERS.get(file.suffix.lower(), _read_csv)(file)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{file}: not UTF-8 ({error.reason}, byte {error.start}); save it as UTF-8, in Excel as 'CSV UTF-8'"
        ) from None
    except OSError as error:
        raise CorpusError(f"{file}: cannot be read ({error.strerror or error})") from None


def _read_csv(file: Path, usual: str = ",") -> Sheet:
    text = _text(file)
    delimiter = _delimiter(text.lstrip().partition("\n")[0] + "\n", usual)
    named = DELIMITERS[delimiter]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, [bare(cell.strip()) for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise CorpusError(f"{file}: not a table of values separated by {named} ({error})") from None
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if rows and DIRECTIVE.match(text):
        del rows[0]
    header = rows[0][1] if rows else []
    _refuse_repeats(file, header)
    for line, cells in rows[1:]:
        if len(cells) < len(header) or any(cells[len(header) :]):
            raise CorpusError(
                f"{file}, line {line}: {pluralize(len(cells), 'cell')} for {pluralize(len(header), 'column')}; "
                f"join the tags of a cell by {'|' if delimiter == ';' else ';'}, or put a cell with {named} in quotes"
            )
    found = [(f"line {line}", dict(zip(header, cells, strict=False))) for line, cells in rows[1:]]
    return Sheet(file, tuple(header), found, f" (columns are separated by {named})", delimiter == ";")


def _text(file: Path) -> str:
    """The text of a file: UTF-8, or UTF-16 where it begins with the mark of that."""
    content = file.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if marked else "utf-8-sig")
    if "\0" in text:
        raise CorpusError(f"{file}: zero bytes stand in it, as in UTF-16 without a mark; save it as UTF-8")
    return text


def _delimiter(first: str, usual: str) -> str:
    """What parts the fields of a file whose first line this is: what it says itself, else the usual if it is there."""
    if directive := DIRECTIVE.match(first):
        return directive[1]
    plain = re.sub(r'"[^"]*"', "", first)
    return usual if usual in plain else max(DELIMITERS, key=lambda one: (plain.count(one), one == usual))


def _read_tsv(file: Path) -> Sheet:
    return _read_csv(file, "\t")


def _read_parquet(file: Path) -> Sheet:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from datasets.parquet_files import check_rows

    try:
        with pq.ParquetFile(file) as parquet:
            check_rows(parquet, file.stat().st_size)
            table = parquet.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorpusError(f"{file}: not a Parquet file ({str(error).splitlines()[0]})") from None
    _refuse_repeats(file, table.column_names)
    kept = [name for name, kind in zip(table.column_names, table.schema.types, strict=True) if _readable(kind)]
    return _from_records(file, ((f"row {n}", row) for n, row in enumerate(table.select(kept).to_pylist(), 1)), kept)


def _readable(kind: Any) -> bool:
    """Whether a Parquet column holds texts, numbers or lists of them; others are passed over."""
    import pyarrow.types as pt

    if pt.is_dictionary(kind):
        return _readable(kind.value_type)
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return _readable(kind.value_type) and not pt.is_nested(kind.value_type)
    texts = pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind)
    return texts or pt.is_integer(kind) or pt.is_floating(kind) or pt.is_boolean(kind) or pt.is_null(kind)


def _read_json(file: Path) -> Sheet:
    content = _parsed(_text(file), f"{file}", "path -> labels, or a list of objects", _pairs)
    if isinstance(content, dict):
        records = [
            {PATH: path, **value} if isinstance(value, dict) else {PATH: path, LABELS: value}
            for path, value in content.items()
        ]
    elif isinstance(content, list):
        records = content
    else:
        raise CorpusError(f"{file}: holds a {type(content).__name__}; expected path -> labels, or a list of objects")
    return _from_records(file, ((f"entry {number}", record) for number, record in enumerate(records, 1)))


def _read_json_lines(file: Path) -> Sheet:
    found = []
    for number, line in enumerate(_text(file).split("\n"), 1):
        if not line.strip():
            continue
        found.append((f"line {number}", _parsed(line, f"{file}, line {number}", "one object a line")))
    return _from_records(file, found)


def _parsed(text: str, where: str, expected: str, pairs: Callable[[list], dict] | None = None) -> Any:
    try:
        return plain_json.parse(text, pairs=pairs)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text else ""
        raise CorpusError(f"{where}{line}: not JSON ({error.msg}); expected {expected}") from None
    except KeyError as error:
        raise CorpusError(f"{where}: {error.args[0]} stands in it twice") from None
    except ValueError:
        raise CorpusError(
            f"{where}: nested too deep, a number too long, or a text that is not Unicode; expected {expected}"
        ) from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise KeyError(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return found


def _from_records(file: Path, records: Iterable[tuple[str, Any]], columns: Iterable[str] = ()) -> Sheet:
    columns, rows = dict.fromkeys(columns), []
    for where, record in records:
        if not isinstance(record, dict):
            raise CorpusError(
                f'{file}, {where}: {shown(record)}; expected an object such as {{"path": ..., "tags": [...]}}'
            )
        try:
            cells = {name.strip(): cell(value) for name, value in record.items()}
        except TypeError as error:
            raise CorpusError(f"{file}, {where}: {error}; expected a text, a number or a list of them") from None
        columns |= dict.fromkeys(cells)
        if any(cells.values()):
            rows.append((where, cells))
    return Sheet(file, tuple(columns), rows)


def cell(value: Any) -> Cell:
    """A value of a typed file as a cell: whole numbers without a point, lists as tuples, nulls and NaN as nothing.

    A list of lists of numbers is their JSON.

    Raises:
        TypeError: It is neither a text nor a number nor a list of them.
    """
    if value is None or value != value:
        return None
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        inner = [cell(one) for one in value if not isinstance(one, list | tuple)]
        if len(inner) == len(value) and all(isinstance(one, str) for one in inner):
            return tuple(inner)
        if value and all(_are_numbers(one) for one in value):
            return json.dumps(value)
    raise TypeError(f"{shown(value)} is a {type(value).__name__}")


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(one is None or isinstance(one, int | float) for one in value)


def _refuse_repeats(file: Path, columns: Sequence[str]) -> None:
    repeated = sorted({name for name in columns if name and columns.count(name) > 1})
    if repeated:
        raise CorpusError(f"{file}: two columns are called {repeated[0]!r}; give each its own name")


READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
}
