"""The benchmark of beats: clips, decoders of a network and what other programs found, side by side."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import beats
from benchmarks.beat_peers import beats_of
from datasets.beat_files import write_beats
from datasets.beats import Beats
from experiments.encoder import Encoder
from experiments.tasks import BeatTracking
from models.rhythm.decoded import Decoded

TEMPI = {"piano_1": 60.0, "piano_2": 90.0, "drums_1": 120.0}


def annotated(tempo: float) -> Beats:
    times = np.arange(0.5, 20, 60 / tempo)
    return Beats(times, np.arange(len(times)) % 4 + 1)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three clips of 20 s with beats, and one without."""
    (tmp_path / "clips").mkdir()
    for name, tempo in TEMPI.items():
        soundfile.write(tmp_path / "clips" / f"{name}.wav", np.zeros(20 * 8000), 8000)
        write_beats(tmp_path / "clips" / f"{name}.beats", annotated(tempo))
    names = [*TEMPI, "gone"]
    rows = ["file,kind", *(f"clips/{name}.wav,{'drums' if 'drums' in name else 'piano'}" for name in names)]
    (tmp_path / "clips.csv").write_text("\n".join(rows), encoding="utf-8")
    for name, tempo in TEMPI.items():  # what another program found: beats alone, those of a drum kit twice as fast
        (tmp_path / "other" / "clips").mkdir(parents=True, exist_ok=True)
        write_beats(
            tmp_path / "other/clips" / f"{name}.beats", Beats(annotated(2 * tempo if "drums" in name else tempo).times)
        )
    return tmp_path


def test_kinds_are_a_column_or_names(folder):
    clips = beats.clips_of(folder, folder / "clips.csv", "kind")
    assert [clip.kind for clip in clips] == ["piano", "piano", "drums"]
    assert [clip.seconds for clip in clips] == [20, 20, 20]
    assert [clip.kind for clip in beats.clips_of(folder, folder / "clips.csv", "name")] == ["piano", "piano", "drums"]
    with pytest.raises(SystemExit, match="no such column; there are file, kind, and name"):
        beats.clips_of(folder, folder / "clips.csv", "genre")


def test_rows_side_by_side(folder, monkeypatch, capsys):
    def exact(file: Path) -> Beats:
        return annotated(TEMPI[file.stem])

    monkeypatch.setattr(beats, "network", lambda _, decoders: dict.fromkeys(decoders, exact))
    monkeypatch.setattr(beats, "essentia", lambda: lambda file: Beats(annotated(TEMPI[file.stem]).times + 0.2))
    out = folder / "out"
    options = ["--checkpoints", "ours=runs/1", "--estimates", f"other={folder / 'other'}", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["beats", str(folder), str(folder / "clips.csv"), *options])
    beats.main()
    printed = capsys.readouterr().out
    rows = {(row["decoder"], row["corpus"]): row["scores"] for row in json.loads((out / "beats.json").read_text())}
    assert rows["ours, peaks", "all tracks"]["downbeat_f1"] == 1
    assert rows["ours, dbn", "drums"]["beat_f1"] == 1
    assert rows["Essentia", "piano"]["beat_f1"] == 0
    assert rows["other", "piano"]["beat_f1"] == 1
    assert rows["other", "drums"]["beat_f1"] == pytest.approx(2 / 3, abs=0.02)
    assert "downbeat_f1" not in rows["other", "all tracks"]
    assert "ours, peaks ahead of Essentia: beat_f1 +100.0" in printed
    assert "| ours, peaks, downbeats | 1.00 | 1.00 | 1.00 | 1.00 |" in printed
    with (out / "beats.csv").open(encoding="utf-8") as handle:
        assert len(list(csv.DictReader(handle))) == 3 * 4
    again = beats.of_folder(out / "ours_peaks", folder)(folder / "clips/drums_1.wav")
    np.testing.assert_allclose(again.times, annotated(120).times, atol=1e-3)


def test_a_network_is_run_once_for_all_decoders(folder, monkeypatch):
    class Fake:
        task = BeatTracking()
        frontend = type("FrontEnd", (), {"sample_rate": 8000})
        runs = 0

        def predict(self, samples, rate):
            assert rate == 8000
            self.runs += 1
            return type("Prediction", (), {"over_time": np.zeros((10, 2))})

    fake = Fake()
    monkeypatch.setattr(Encoder, "load", lambda _: fake)
    found = Decoded(np.array([1.0, 2.0]), np.array([1, 2]), np.ones(2))
    monkeypatch.setattr(BeatTracking, "events", lambda *_: found)
    finders = beats.network("runs/1", ["peaks", "dbn"])
    for finder in finders.values():
        assert finder(folder / "clips/piano_1.wav").downbeats.tolist() == [1]
    assert fake.runs == 1


def test_beats_of_other_programs_are_put_in_order():
    found = beats_of(np.array([2.0, -0.01, 1.0, 1.0]), np.array([2.0, 1.0, 1.0, 1.0]))
    assert found.times.tolist() == [0, 1, 2]
    assert found.positions.tolist() == [1, 1, 2]
    assert not beats_of(np.array([1.0])).has_downbeats
