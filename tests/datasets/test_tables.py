"""Tables in every form: the same rows whatever the file, and what is no table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.corpus import read_table
from datasets.tables import READERS, CorpusError, read_sheet

WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters=";|,[({\\", exclude_categories=["Cc", "Cs", "Z"]), min_size=1
)
ROWS = st.lists(
    st.tuples(WORDS.filter(lambda path: path.strip("./")), st.lists(WORDS.filter(lambda tag: tag != "-"), unique=True)),
    min_size=1,
    unique_by=lambda row: row[0].strip("./"),
)


def write_csv(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter=delimiter)
        writer.writerow(["path", "tags"])
        writer.writerows((name, ";".join(tags) or "-") for name, tags in rows)


def write_parquet(path, rows):
    names, tags = zip(*rows, strict=True)
    pq.write_table(pa.table({"path": names, "tags": pa.array(tags, pa.list_(pa.string()))}), path)


WRITERS = {
    ".csv": write_csv,
    ".tsv": lambda path, rows: write_csv(path, rows, "\t"),
    ".parquet": lambda path, rows: pq.write_table(
        pa.table(
            {"path": [name for name, _ in rows], "tags": pa.array([tags for _, tags in rows], pa.list_(pa.string()))}
        ),
        path,
    ),
    ".json": lambda path, rows: path.write_text(json.dumps({name: {"tags": tags} for name, tags in rows})),
    ".jsonl": lambda path, rows: path.write_text(
        "\n".join(json.dumps({"path": name, "tags": tags}, ensure_ascii=False) for name, tags in rows), encoding="utf-8"
    ),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_the_same_rows_in_any_form_are_the_same_corpus(rows, tmp_path):
    assert WRITERS.keys() == READERS.keys()
    tracks = []
    for suffix, write in WRITERS.items():
        write(tmp_path / f"tracks{suffix}", rows)
        tracks.append(read_table(tmp_path / f"tracks{suffix}").tracks)
    assert all(others == tracks[0] for others in tracks)
    assert [track.annotations["tags"] for track in tracks[0]] == [tuple(tags) for _, tags in rows]


def test_a_mapping_from_path_to_labels(tmp_path):
    (tmp_path / "t.json").write_text('{"a.mp3": ["rock", "a;b"], "b.mp3": "rock;slow", "c.mp3": [], "d.mp3": null}')
    corpus = read_table(tmp_path / "t.json")
    assert [track.annotations.get("tags") for track in corpus] == [("rock", "a;b"), ("rock", "slow"), (), None]


def test_parquet_columns_of_any_plain_type(tmp_path):
    table = pa.table(
        {
            "path": pa.array(["a", "b", "c"], pa.large_string()),
            "genre": pa.array(["x", "y", "x"]).dictionary_encode(),
            "tempo": pa.array([120.5, float("nan"), 90.0]),
            "tags": pa.array([["loud"], None, []], pa.large_list(pa.string())),
            "split": pa.array(["train", "test", "valid"]),
            "artist": pa.array([7, 8, None]),
            "box": pa.array([{"x": 1}] * 3),
            "bytes": pa.array([b"1"] * 3),
        }
    )
    assert table.schema.metadata is None
    pq.write_table(table, tmp_path / "t.parquet")
    first, second, third = read_table(tmp_path / "t.parquet")
    assert first.annotations == {"genre": "x", "tempo": 120.5, "tags": ("loud",), "artist": "7"}
    assert second.annotations == {"genre": "y", "artist": "8"}
    assert third.annotations == {"genre": "x", "tempo": 90.0, "tags": ()}


def test_a_genre_in_a_list_is_one(tmp_path):
    pq.write_table(pa.table({"path": ["a", "b"], "genre": [["rock"], ["rock", "jazz"]]}), tmp_path / "t.parquet")
    with pytest.raises(CorpusError, match=r"row 2: .*genre holds 2 values, a genre is one; datamodule\.columns\.tags="):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.parquet", b"no", "not a Parquet file"),
        ("t.json", b'{"a": ', "not JSON"),
        ("t.json", b'{"a.mp3": "x", "a.mp3": "y"}', "a.mp3 stands in it twice"),
        ("t.json", b'"a.mp3"', "holds a str; expected path -> labels"),
        ("t.json", b'[["a.mp3", "rock"]]', r"entry 1: \['a.mp3', 'rock'\]; expected an object"),
        ("t.json", b'{"a.mp3": {"tags": [["x"]]}}', r"entry 1: .* is a list; expected a text"),
        ("t.jsonl", b'{"path": "a"}\n{"path": ', "line 2: not JSON"),
        ("t.jsonl", '{"path": "ä"}'.encode("latin-1"), "not UTF-8"),
        ("t.json", '{"ä": "x"}'.encode("latin-1"), "not UTF-8"),
        ("t.tsv", b"path\ttags\na\n", "line 2: 1 cell for 2 columns"),
        ("t.tsv", b"title,tags\na,b\n", r"there is 'title', 'tags' \(columns are separated by commas\)"),
        ("t.csv", b"path,tags,tags\na,b,c\n", "two columns are called 'tags'"),
        ("t.jsonl", b'{"file": ["a", "b"]}', "column 'file' holds a list"),
        ("t.json", b"[]", "no column for the path"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=said):
        read_table(tmp_path / name)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(CorpusError, match="a folder, not a table"):
        read_sheet(tmp_path)


ROCK = [("a.wav", "rock"), ("b.wav", "jazz")]
SPREADSHEETS = {
    "a mark of UTF-8": "\ufeffpath,genre\na.wav,rock\nb.wav,jazz\n".encode(),
    "semicolons": b"path;genre\na.wav;rock\nb.wav;jazz\n",
    "semicolons, said outright": b"sep=;\r\npath;genre\r\na.wav;rock\r\nb.wav;jazz\r\n",
    "UTF-16 with tabs": "path\tgenre\r\na.wav\trock\r\nb.wav\tjazz\r\n".encode("utf-16"),
    "UTF-16, the other way round": "\ufeffpath,genre\na.wav,rock\nb.wav,jazz\n".encode("utf-16-be"),
    "empty rows and columns": b"path,genre,,\n\na.wav,rock,,\n,,,\nb.wav,jazz,,\n,,,\n,,,\n",
    "more empty cells than columns": b"path,genre\na.wav,rock,,\nb.wav,jazz,,\n",
    "empty rows above": b",\n\npath,genre\na.wav,rock\nb.wav,jazz\n",
    "only carriage returns": b"path,genre\ra.wav,rock\rb.wav,jazz\r",
    "a semicolon in quotes": b'path,genre,"what; why"\na.wav,rock,x\nb.wav,jazz,y\n',
}


@pytest.mark.parametrize("habit", SPREADSHEETS)
def test_csv_as_spreadsheets_write_it(tmp_path, habit):
    (tmp_path / "t.csv").write_bytes(SPREADSHEETS[habit])
    corpus = read_table(tmp_path / "t.csv")
    assert [(track.id, track.annotations["genre"]) for track in corpus] == ROCK


def test_a_decimal_comma_where_semicolons_part_fields(tmp_path):
    (tmp_path / "t.csv").write_text('path;tempo;tags\na;120,5;"x;y"\nb;98,125;z\n')
    first, second = read_table(tmp_path / "t.csv")
    assert first.annotations == {"tempo": 120.5, "tags": ("x", "y")}
    assert second.annotations["tempo"] == 98.125


def test_empty_records_of_other_forms_are_passed_over(tmp_path):
    pq.write_table(pa.table({"path": ["a.wav", None], "genre": ["rock", None]}), tmp_path / "t.parquet")
    assert [track.id for track in read_table(tmp_path / "t.parquet")] == ["a.wav"]
    (tmp_path / "t.jsonl").write_text('{"path": "a.wav", "genre": "rock"}\n{"path": null, "genre": null}\n')
    assert [track.id for track in read_table(tmp_path / "t.jsonl")] == ["a.wav"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.xlsx", b"PK\x03\x04", "a workbook of a spreadsheet; save its sheet as 'CSV UTF-8'"),
        ("t.csv", "path,genre\n".encode("utf-16-le"), "zero bytes stand in it, as in UTF-16 without a mark"),
        ("t.csv", "path,genre\na,Müll\n".encode("cp1252"), "save it as UTF-8, in Excel as 'CSV UTF-8'"),
        ("t.csv", b"path;genre\na;b;c\n", "line 2: 3 cells for 2 columns; .* by |, or put a cell with semicolons"),
        ("t.csv", b"path,genre\na.wav,#N/A\n", "line 2: genre='#N/A' is not a genre: a formula .* failed there"),
        ("t.csv", b"path,genre\n#REF!,rock\n", "line 2: path='#REF!': a formula"),
        ("t.json", b"[" * 100_000, "nested too deep"),
        ("t.jsonl", b"[" * 100_000, "line 1: nested too deep"),
        ("t.jsonl", b'{"path": "a.wav", "tags": ["\\ud800"]}', "line 1: .* a text that is not Unicode"),
    ],
)
def test_what_a_spreadsheet_left_broken_is_named(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=said):
        read_table(tmp_path / name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check_read_or_refused(path: Path) -> None:
    try:
        rows = read_sheet(path).rows
    except CorpusError as error:
        rows, said = [], str(error)
        assert path.name in said
    cells = [cell for _, row in rows for cell in row.values()]
    assert all(cell is None or isinstance(cell, str | tuple) for cell in cells)


@SLOW
@given(st.sampled_from([".csv", ".tsv", ".json", ".jsonl", ".parquet"]), st.binary(max_size=60) | JSON)
def test_any_file_is_read_or_refused(tmp_path, suffix, content):
    (tmp_path / f"t{suffix}").write_bytes(content)
    check_read_or_refused(tmp_path / f"t{suffix}")


@SLOW
@given(st.data())
def test_any_damage_to_parquet_is_read_or_refused(tmp_path, data):
    pq.write_table(pa.table({"path": ["a", "b"], "tags": [["x"], ["y", "z"]]}), tmp_path / "t.parquet")
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    (tmp_path / "t.parquet").write_bytes(content)
    check_read_or_refused(tmp_path / "t.parquet")


def test_more_rows_than_a_file_can_tell_apart_are_refused(tmp_path):
    pq.write_table(pa.table({"path": pa.array(["a"] * 10**6)}), tmp_path / "t.parquet")
    with pytest.raises(CorpusError, match=r"t\.parquet: not a Parquet file \(1000000 rows in [0-9]+ bytes\)"):
        read_sheet(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
@pytest.mark.parametrize("depth", [50, 400, 100_000])
def test_deep_json_is_refused(tmp_path, name, depth):
    (tmp_path / name).write_text('{"a": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(CorpusError, match=rf"{name}.*(nested too deep|expected a text, a number or a list)"):
        read_sheet(tmp_path / name)


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_a_number_without_end_is_refused(tmp_path, name):
    (tmp_path / name).write_text('{"a": ' + "1" * 5000 + "}")
    with pytest.raises(CorpusError, match=rf"{name}.*a number too long"):
        read_sheet(tmp_path / name)
