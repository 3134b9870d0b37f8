"""The benchmark of tempo: songs, networks and what other programs say, side by side."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import tempo
from preprocess.sources import AudioError


@pytest.fixture
def table(tmp_path) -> Path:
    lines = ["file,tempo,genre,second_tempo,strength", "a.wav,120,rock,60,0.7", "b.wav,90,jazz,,", "c.wav,,jazz,,"]
    (tmp_path / "clips.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "cnn.csv").write_text("path,tempo\na.wav,121\nb.wav,180\n", encoding="utf-8")
    return tmp_path / "clips.csv"


def test_songs_with_two_annotated_tempi(table):
    songs = tempo.songs_of(table)
    assert list(songs.ids) == ["a.wav", "b.wav"]
    references, weights = songs.two
    assert references.tolist() == [[120, 60], [90, 0]]
    assert weights.tolist() == [0.7, 1]


def test_rows_side_by_side(table, tmp_path, monkeypatch, capsys):
    def broken(file: Path) -> tuple[float, float]:
        if file.name == "b.wav":
            raise AudioError(file, "torn")
        return 120.0, 60.0

    monkeypatch.setattr(tempo, "librosa", lambda _: (60.0, 0.0))
    monkeypatch.setattr(tempo, "network", lambda _: broken)
    monkeypatch.setattr(tempo, "essentia", lambda _: lambda _: (120.0, 0.0))
    out = tmp_path / "out"
    options = ["--checkpoints", "ours=runs/1", "--estimates", f"cnn={tmp_path / 'cnn.csv'}", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["tempo", str(tmp_path), str(table), *options])
    tempo.main()
    printed = capsys.readouterr().out
    assert "ours: b.wav:" in printed
    assert "1 songs, 1 left out" in printed
    for name in ("ours", "librosa", "Essentia multifeature", "cnn", "always 120 BPM"):
        assert f"\n{name}  " in printed
    assert {path.suffix for path in out.iterdir()} == {".csv", ".json", ".png"}


def test_files_and_runs_have_names():
    assert tempo.named(["a=runs/1", "runs/2", "best.ckpt"]) == {"a": "runs/1", "2": "runs/2", "best": "best.ckpt"}


def test_what_others_do_not_say_is_missing(table, tmp_path):
    (tmp_path / "part.csv").write_text("path,tempo\nb.wav,180\n", encoding="utf-8")
    found = tempo.others(tmp_path / "part.csv", tempo.songs_of(table))
    np.testing.assert_array_equal(found, [[np.nan, 0], [180, 0]])
