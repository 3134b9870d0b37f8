"""Features of other programs: what goes in comes out, under the ids of the audio; every mistake is named."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from datasets.store import Store
from preprocess.__main__ import main
from preprocess.foreign import import_features
from preprocess.vector_files import ForeignError

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds, of a process on a slow machine
DRAWN = np.random.default_rng(0).standard_normal((4, 5))


def quietly(source: Path, store: Path, **options):
    return import_features(source, store, **{"progress": False, **options})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four vectors of five values, a file each."""
    for number, vector in enumerate(DRAWN):
        path = tmp_path / "features" / f"{number // 2}" / f"song{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, vector)
    return tmp_path / "features"


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    for number in range(4):
        path = tmp_path / "audio" / "album" / f"song{number}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "audio"


def table(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def usual(values: np.ndarray = DRAWN) -> list[dict]:
    return [
        {"path": f"album/song{row}.mp3", "artist": "x", **{f"f{at}": value for at, value in enumerate(vector)}}
        for row, vector in enumerate(values)
    ]


FINITE = st.floats(-1e30, 1e30, allow_subnormal=False)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(vectors=arrays.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=FINITE))
def test_all_layouts_give_back_what_was_written(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("layouts")
    (place / "npy").mkdir()
    for row, vector in enumerate(vectors):
        np.save(place / "npy" / f"song{row}.npy", vector)
    ids = [f"song{row}" for row in range(len(vectors))]
    columns = {f"f{at}": vectors[:, at] for at in range(vectors.shape[1])}
    pq.write_table(pa.table({"id": ids, "vector": [list(vector) for vector in vectors]}), place / "lists.parquet")
    pq.write_table(pa.table({"id": ids, **columns}), place / "wide.parquet")
    rows = [{"id": id, **dict(zip(columns, vector, strict=True))} for id, vector in zip(ids, vectors, strict=True)]
    table(place / "wide.csv", rows)
    for name in ("npy", "lists.parquet", "wide.parquet", "wide.csv"):
        report = quietly(place / name, place / f"store_{name}")
        assert (report.written, report.already, report.size) == (*vectors.shape[:1], 0, vectors.shape[1])
        store = Store(place / f"store_{name}", kind="embeddings")
        for id, vector in zip(ids, vectors, strict=True):
            np.testing.assert_array_equal(store.read(id), vector.astype(np.float32)[None, None, :])


def test_rows_of_a_track_stay_rows(tmp_path: Path):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", DRAWN)
    quietly(tmp_path / "in", tmp_path / "out")
    np.testing.assert_allclose(Store(tmp_path / "out").read("a")[:, 0], DRAWN, rtol=1e-6)


def test_header_says_whose_features_these_are(folder: Path, tmp_path: Path):
    quietly(folder, tmp_path / "one", encoder="jukebox", block=36)
    quietly(folder, tmp_path / "other", encoder="clmr")
    one, other = Store(tmp_path / "one").header, Store(tmp_path / "other").header
    assert {key: one.producer[key] for key in ("encoder", "source", "block", "tokens")} == {
        "encoder": "jukebox",
        "source": "npy: features",
        "block": 36,
        "tokens": [""],
    }
    assert one.fingerprint != other.fingerprint
    with pytest.raises(ValueError, match="another producer"):
        quietly(folder, tmp_path / "one", encoder="clmr")


def test_ids_are_those_of_the_audio(folder: Path, audio: Path, tmp_path: Path):
    (audio / "extra.wav").write_bytes(b"x")
    report = quietly(folder, tmp_path / "out", audio=audio)
    assert Store(tmp_path / "out").ids == [f"album/song{number}.mp3" for number in range(4)]
    assert report.without_vectors == ["extra.wav"]


def test_vectors_without_audio_are_an_error_with_the_nearest(folder: Path, audio: Path, tmp_path: Path):
    (folder / "0" / "song0.npy").rename(folder / "0" / "sing0.npy")
    with pytest.raises(ForeignError, match=r"1 of 4 vectors match nothing.*'0/sing0'; the nearest.*song0.mp3"):
        quietly(folder, tmp_path / "out", audio=audio)
    report = quietly(folder, tmp_path / "out", audio=audio, max_unmatched=0.25)
    assert report.written == 3
    assert "0/sing0" in (tmp_path / "out" / "skipped.csv").read_text()


def test_nothing_matches(folder: Path, audio: Path, tmp_path: Path):
    for number, file in enumerate(sorted(audio.rglob("*.mp3"))):
        file.rename(file.with_name(f"other{number}.mp3"))
    with pytest.raises(ForeignError, match="4 of 4 vectors match nothing"):
        quietly(folder, tmp_path / "out", audio=audio, max_unmatched=1.0)


def test_ids_of_jukemir_become_those_of_the_corpus(tmp_path: Path):
    (tmp_path / "gtzan").mkdir()
    for name in ("blues.00000", "rock.00099"):
        np.save(tmp_path / "gtzan" / f"{hashlib.sha256(name.encode()).hexdigest()}.npy", DRAWN[0])
    (tmp_path / "giantsteps").mkdir()
    np.save(tmp_path / "giantsteps" / "0010089-1.npy", DRAWN[0])
    quietly(tmp_path / "gtzan", tmp_path / "a", corpus="gtzan", layout="jukemir")
    assert Store(tmp_path / "a").ids == ["blues.00000", "rock.00099"]
    quietly(tmp_path / "giantsteps", tmp_path / "b", corpus="giantsteps_key")
    assert len(Store(tmp_path / "b")) == 1
    assert Store(tmp_path / "b").ids[0].endswith("10089-1")
    with pytest.raises(ForeignError, match="ids are such as"):
        quietly(tmp_path / "gtzan", tmp_path / "c", corpus="emomusic")


def test_columns_that_are_no_features_are_left_out(tmp_path: Path):
    rows = [{"": number, **row} for number, row in enumerate(usual())]
    report = quietly(table(tmp_path / "a.csv", rows), tmp_path / "out")
    assert (report.size, report.passed_over) == (5, ["artist"])
    report = quietly(tmp_path / "a.csv", tmp_path / "two", columns=["f3", "f1"])
    np.testing.assert_allclose(Store(tmp_path / "two").read("album/song0.mp3")[0, 0], DRAWN[0, [3, 1]], rtol=1e-6)


@pytest.mark.parametrize("separator", ["\t", ";"])
def test_other_separators(tmp_path: Path, separator: str):
    text = table(tmp_path / "a.csv", usual()).read_text().replace(",", separator)
    (tmp_path / "a.tsv").write_text(text)
    assert quietly(tmp_path / "a.tsv", tmp_path / "out").written == 4


def broken(vectors: np.ndarray, value: float) -> np.ndarray:
    return np.where(np.arange(20).reshape(4, 5) == 12, value, vectors)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (usual(broken(DRAWN, np.nan)), {}, r"value 2 \(f2\) of 'album/song2.mp3' is nan"),
        (usual(broken(DRAWN, 1e300)), {}, r"value 2 \(f2\) of 'album/song2.mp3' is 1e\+300"),
        ([*usual(), usual()[1]], {}, "2 rows have the id 'album/song1.mp3'"),
        ([{"path": "a.mp3", "artist": "x"}], {}, "no column of numbers"),
        ([{"one": "a", "two": "b", "f": 1.0}], {}, "--id COLUMN"),
        ([*usual(), {**usual()[0], "path": "b.mp3", "f2": "lots"}], {}, "column 'f2' holds 4 numbers, but also 'lots'"),
        (usual(), {"id_column": "pfad"}, "no column 'pfad'.*'path'"),
        (usual(), {"columns": ["artist"]}, "'artist' is no column of numbers"),
        ([{"path": "", "f": 1.0}], {}, "row 1 has no id"),
        (usual(), {"layout": "npy"}, "takes a folder"),
    ],
)
def test_mistakes_in_tables(rows: list[dict], options: dict, message: str, tmp_path: Path):
    with pytest.raises(ForeignError, match=message):
        quietly(table(tmp_path / "a.csv", rows), tmp_path / "out", **options)


def test_text_where_a_number_belongs(tmp_path: Path):
    padding = "x" * 1000  # so that types are told by other rows than the last
    rows = [f"song{number},{padding},1.5\n" for number in range(18_000)]
    (tmp_path / "a.csv").write_text("id,about,f\n" + "".join(rows) + "last,x,lots\n")
    with pytest.raises(ForeignError, match=r"no number where one belongs.*lots"):
        quietly(tmp_path / "a.csv", tmp_path / "out")


def test_columns_of_one_name(tmp_path: Path):
    (tmp_path / "a.csv").write_text("id,x,x\na,1,2\n")
    with pytest.raises(ForeignError, match="two columns are called 'x'"):
        quietly(tmp_path / "a.csv", tmp_path / "out")


def test_ids_of_any_kind_of_text(tmp_path: Path):
    pq.write_table(pa.table({"song": pa.array(["a", "b"], pa.large_string()), "x": [1.0, 2.0]}), tmp_path / "a.parquet")
    assert quietly(tmp_path / "a.parquet", tmp_path / "out").written == 2


def test_a_folder_that_cannot_be_listed_is_named(folder: Path, tmp_path: Path, refuse: Callable[[Path], None]):
    refuse(folder / "1")
    with pytest.raises(ForeignError, match=r"/1: Permission denied; let it be read, or leave it out"):
        quietly(folder, tmp_path / "out")


def test_mistakes_in_folders(folder: Path, tmp_path: Path):
    one = folder / "1" / "song3.npy"
    np.save(one, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ForeignError, match=r"song3.npy: an array of objects"):
        quietly(folder, tmp_path / "a")
    np.save(one, np.zeros(6))
    with pytest.raises(ForeignError, match="'1/song3' has 6 values, those before it 5; were two encoders mixed"):
        quietly(folder, tmp_path / "b")
    np.save(one, np.array(["x"]))
    with pytest.raises(ForeignError, match=r"song3.npy: <U1 of shape \[1\]"):
        quietly(folder, tmp_path / "c")
    with one.open("wb") as file:
        np.savez(file, DRAWN)
    with pytest.raises(ForeignError, match=r"song3.npy: several arrays in one archive"):
        quietly(folder, tmp_path / "z")
    with one.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**14,)})
    with pytest.raises(ForeignError, match=r"song3.npy: a shape of .*, of which 128 bytes do not hold the values"):
        quietly(folder, tmp_path / "h")
    np.save(one, DRAWN)
    one.write_bytes(one.read_bytes()[:-1])
    with pytest.raises(ForeignError, match=r"song3.npy"):
        quietly(folder, tmp_path / "d")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.npz").touch()
    with pytest.raises(ForeignError, match=r"no .npy file in this folder, only 1 .npz"):
        quietly(tmp_path / "empty", tmp_path / "e")
    with pytest.raises(ForeignError, match="no such file"):
        quietly(tmp_path / "nowhere", tmp_path / "f")


def test_changed_vectors_are_not_mixed_with_old_ones(folder: Path, tmp_path: Path):
    quietly(folder, tmp_path / "out")
    assert quietly(folder, tmp_path / "out").already == 4
    np.save(folder / "0" / "song1.npy", DRAWN[0])
    with pytest.raises(ForeignError, match="another vector for '0/song1'"):
        quietly(folder, tmp_path / "out")


def test_command_and_its_errors(folder: Path, tmp_path: Path, capsys):
    assert main(["import", str(folder), str(tmp_path / "out"), "--encoder", "e", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "4 tracks written, 0 already there, 5 values each" in said
    assert f"embeddings.store={tmp_path / 'out'}" in said
    assert main(["import", str(tmp_path / "nowhere"), str(tmp_path / "out"), "--quiet"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_killed_import_goes_on(tmp_path: Path):
    (tmp_path / "many").mkdir()
    values = np.random.default_rng(0).standard_normal((1500, 512)).astype(np.float32)
    for number, vector in enumerate(values):
        np.save(tmp_path / "many" / f"{number:05d}.npy", vector)
    line = [sys.executable, "-m", "preprocess", "import", str(tmp_path / "many"), str(tmp_path / "out"), "--quiet"]
    process = psutil.Popen(line, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    limit = time.monotonic() + PATIENCE
    shards = tmp_path / "out" / "shards"
    while process.poll() is None and time.monotonic() < limit and not any(shards.glob("*.npy")):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    report = quietly(tmp_path / "many", tmp_path / "out")
    assert report.written + report.already == 1500
    store = Store(tmp_path / "out")
    assert len(store) == 1500
    for number in range(0, 1500, 500):
        np.testing.assert_array_equal(store.read(f"{number:05d}")[0, 0], values[number])
