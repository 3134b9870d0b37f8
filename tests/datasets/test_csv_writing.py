"""Cells that a spreadsheet takes for formulas, and back."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.csv_writing import RecordWriter, TableWriter, bare, guarded
from datasets.tables import read_sheet

TEXTS = st.text(max_size=8) | st.text(alphabet="'=+-@\t\r\n 1.e＝a", max_size=6)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1+1", "'=1", "''=1", "-a.mp3", "+44x"],
)
def test_what_looks_like_a_formula_is_a_text(text: str) -> None:
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize(
    "cell",
    ["song.mp3", "'Til Dawn.mp3", "", "-", "a=b", "-1", "+1.5e-3", "-0.12000", "-inf", "nan", -1.5, 3, None, True, "'"],
)
def test_everything_else_stays(cell: object) -> None:
    assert guarded(cell) is cell


@given(TEXTS)
def test_every_text_comes_back(text: str) -> None:
    assert bare(guarded(text)) == text


@given(TEXTS, TEXTS)
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert (guarded(one) == guarded(other)) == (one == other)


def test_writers_guard_every_text() -> None:
    handle = io.StringIO()
    TableWriter(handle, lineterminator="\n").writerows([["=a", -1], ("b", "-1")])
    records = RecordWriter(handle, ["@x", "y"], lineterminator="\n")
    records.writeheader()
    records.writerows([{"@x": "+z"}, {"y": 2}])
    assert handle.getvalue() == "'=a,-1\nb,-1\n'@x,y\n'+z,\n,2\n"


def test_tables_of_annotations_are_read_as_they_were_meant(tmp_path: Path) -> None:
    rows = [["path", "genre"], ["-intro.wav", "=rock"], ["'Til dawn.wav", "'@home"]]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as handle:
        TableWriter(handle).writerows(rows)
    assert [[*cells.values()] for _, cells in read_sheet(tmp_path / "t.csv").rows] == rows[1:]
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as handle:
        assert next(csv.DictReader(handle))["path"] == "'-intro.wav"
