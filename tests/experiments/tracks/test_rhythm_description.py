"""`describe` of corpora of tempo and beats, by the command, on miniatures and on a user's own table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from datasets.demo.miniature import miniature
from datasets.rhythm_audit import AnnotatedTempo, BeatRow
from experiments.errors import UserError
from experiments.reports import MUTED, SPLIT_COLOURS
from experiments.tracks.rhythm_pictures import beats_picture, tempo_histogram
from preprocess.__main__ import main as preprocess

ROOT = Path(__file__).resolve().parents[3]
OFF = "tracking.mongo=off"


def describe(*words: str) -> dict:
    """Run the command in this process; its result."""
    from ex_transfer import ex

    return ex.run_commandline([str(ROOT / "ex_transfer.py"), "describe", "with", *words, OFF])


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as handle:
        return list(csv.DictReader(handle))


def last_run() -> Path:
    return max(Path("runs").iterdir(), key=lambda run: run.stat().st_mtime)


@pytest.fixture
def prepared(tiny_corpus, tmp_path, monkeypatch):
    """Prepares a miniature where the named configs look for it."""

    def prepare(corpus: str, tracks: dict[str, int]) -> Path:
        monkeypatch.chdir(tmp_path)
        only = miniature(corpus, tmp_path / "copy", tracks, tiny_corpus)
        store = Path("data") / corpus / "audio"
        words = [corpus, only.parent, store, "--audio", "8000", "--only", only, "--max-missing", "0.2", "--jobs", "1"]
        assert preprocess([*map(str, words), "--quiet"]) == 0
        return store

    return prepare


def test_gtzan_tempo_with_its_faulty_file(prepared, capsys):
    prepared("gtzan_tempo", {"train": 10, "valid": 4, "test": 4})
    capsys.readouterr()
    result = describe("target_gtzan_tempo")
    said = capsys.readouterr().out
    assert "annotations: gtzan_tempo_beat" in said
    assert "18 of 19 recordings can be used, 1 cannot:\n  jazz.00054: not audio, or damaged" in said
    assert "the decoder's 40 to 215 BPM" in said
    assert result["tracks"] == 18
    assert result["refused"] == 1
    run = last_run()
    names = {"integrity.csv", "tempo_by_genre.csv", "tempo.png", "beats_by_track.csv", "beats.png"}
    assert names <= {file.name for file in run.iterdir()}
    genres = {row["genre"]: row for row in rows(run / "tempo_by_genre.csv")}
    assert int(genres["all"]["tracks"]) == 19
    assert int(genres["all"]["usable"]) == 18
    assert int(genres["jazz"]["tracks"]) == int(genres["jazz"]["usable"]) + 1
    pixels = imread(run / "tempo.png")[:, :, :3]
    for colour in (SPLIT_COLOURS["train"], SPLIT_COLOURS["valid"], MUTED):
        assert (np.abs(pixels - to_rgb(colour)).max(axis=2) < 0.01).any()


def test_a_corpus_without_downbeats(prepared, capsys):
    store = prepared("smc", {"train": 5})
    capsys.readouterr()
    result = describe("target_smc")
    said = capsys.readouterr().out
    assert "smc: 5 tracks (5 train)" in said
    assert "5 of 5 recordings can be used" in said
    assert "5 tracks, 0 of these with downbeats" in said
    assert "beats in most bars" not in said
    assert result["out_of_range"] == 0
    assert all(row["metre"] == "" for row in rows(last_run() / "beats_by_track.csv"))
    about = json.loads((store / "corpus.json").read_text())
    about["smc"]["cut_to"] = None
    (store / "corpus.json").write_text(json.dumps(about))
    describe("target_smc")
    assert "smc: 5 tracks (5 train); published are 217 train" in capsys.readouterr().out


def test_a_users_own_table_of_tempi(tiny_corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with (tiny_corpus / "tracks.csv").open(newline="") as handle:
        table = [(row["path"], row["tempo"]) for row in csv.DictReader(handle)]
    table[0] = table[0][0], "400"
    lines = [f"{path},{tempo}" for path, tempo in [*table, ("gone.flac", "100")]]
    Path("own.csv").write_text("path,tempo\n" + "\n".join(lines) + "\n")
    result = describe(f"datamodule.base_dir={tiny_corpus / 'audio'}", "datamodule.groundtruth=own.csv")
    said = capsys.readouterr().out
    assert f"{len(table)} of {len(table) + 1} recordings can be used, 1 cannot:\n  gone.flac: no audio" in said
    assert result["in_range"] == len(table) - 1


def test_annotations_that_nothing_follows_from_are_no_usable_recordings(tiny_corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    audio = tmp_path / "songs" / "audio"
    audio.mkdir(parents=True)
    first, *files = sorted((tiny_corpus / "audio").glob("*.flac"))[:9]
    for number, file in enumerate([first, *files]):
        (audio / f"{number}.flac").write_bytes(file.read_bytes())
    for number in range(4):
        (audio / f"{number}.beats").write_text(f"a {number}\n")
    (audio / "4.beats").write_text("")
    (audio / "5.beats").write_text("0.5 1\n")
    (audio / "6.beats").write_text("500\n1000\n1500\n")
    (audio / "7.beats").write_bytes(first.with_suffix(".beats").read_bytes())
    (audio / "8.beats").write_bytes(first.with_suffix(".beats").read_bytes())
    result = describe("datamodule.task=beats", f"datamodule.base_dir={audio}")
    said = capsys.readouterr()
    assert "2 of 9 recordings can be used, 7 cannot:" in said.out
    assert "  5: one annotated beat alone" in said.out
    assert result["refused"] == 7
    reasons = {row["track"]: row["reason"] for row in rows(last_run() / "integrity.csv") if row["reason"]}
    assert list(reasons) == list("0123456")
    for number in range(4):
        assert f"{number}.beats, line 1: 'a' is no time in seconds" in reasons[str(number)]
    assert reasons["4"] == reasons["6"] == "no annotated beat within the audio"
    assert "4 annotations of beats are not readable and left out:\n  " in said.err
    assert "\n  and 1 more\n" in said.err
    assert (
        "3 beats lie behind the end of the audio of 1 track and left out: 6 (3); of 1 track these are most" in said.err
    )
    assert "milliseconds" in said.err


def test_a_corpus_of_tags_is_described_as_before_training(tiny_corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with (tiny_corpus / "tracks.csv").open(newline="") as handle:
        lines = [f"{row['path']},{row['genre']}" for row in csv.DictReader(handle)]
    Path("genres.csv").write_text("path,genre\n" + "\n".join(lines) + "\n")
    describe(
        f"datamodule.base_dir={tiny_corpus / 'audio'}", "datamodule.groundtruth=genres.csv", "datamodule.task=genre"
    )
    assert "to normalise with this corpus" in capsys.readouterr().out
    assert (last_run() / "corpus.png").is_file()


def test_pictures_of_one_tempo_and_of_none(tmp_path):
    one = AnnotatedTempo("a", "", 120.0, "test")
    assert tempo_histogram([one], (40, 250), tmp_path / "tempo.png").is_file()
    with pytest.raises(UserError, match="no tempo to draw"):
        tempo_histogram([], (40, 250), tmp_path / "none.png")
    row = BeatRow("a", "test", 10, None, 120.0, None, None)
    assert beats_picture([row], (40, 215), tmp_path / "beats.png").is_file()
    with pytest.raises(UserError, match="two beats"):
        beats_picture([BeatRow("a", "test", 0, None, None, None, None)], (40, 215), tmp_path / "none.png")
    assert {file.name for file in tmp_path.iterdir()} == {"tempo.png", "beats.png"}
