"""Cells of the CSV files that the project writes, safe to open in a spreadsheet.

A spreadsheet runs a cell that begins like a formula, and names of files and labels come from anywhere. The convention:
a text of two characters or more that begins (behind spaces) with `=`, `+`, `-`, `@` or their wide forms, or with a tab
or a line break, gets an apostrophe in front, which spreadsheets take for "this is text"; so does a text that begins
with apostrophes and goes on like that, so that taking one away gives back every text. Numbers stay numbers. What the
project reads itself passes through `bare`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

_FORMULA = re.compile(r"'*(?: *[=+\-@＝＋－＠].|[\t\r\n])", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|nan)")


def guarded(cell: Any) -> Any:
    """A cell as it is written: a text that looks like a formula behind an apostrophe, anything else as it is."""
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def bare(text: str) -> str:
    """A text as it was before `guarded`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


class TableWriter:
    """A `csv.writer` of guarded cells.

    Args:
        handle: A text file opened with `newline=""`.
        form: Of `csv.writer`.
    """

    def __init__(self, handle: TextIO, **form: Any) -> None:
        self._writer = csv.writer(handle, **form)

    def writerow(self, row: Iterable[Any]) -> None:
        """Write one row."""
        self._writer.writerow([guarded(cell) for cell in row])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        """Write several."""
        for row in rows:
            self.writerow(row)


def write_table(path: Path, header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table of guarded cells, in UTF-8."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = TableWriter(handle)
        writer.writerow(header)
        writer.writerows(rows)


class RecordWriter(csv.DictWriter):
    """A `csv.DictWriter` of guarded cells; a column that a row does not have stays empty."""

    def __init__(self, handle: TextIO, columns: Sequence[str], **form: Any) -> None:
        super().__init__(handle, columns)
        self.writer = TableWriter(handle, **form)


def write_records(path: Path, columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> None:
    """Write a table of records in UTF-8, as `RecordWriter` does."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = RecordWriter(handle, columns)
        writer.writeheader()
        writer.writerows(records)
