"""Corpora of beats and tempo by the command: checked before they are split, with their beats beside the store."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datasets.corpora import find
from datasets.corpora.integrity import read as read_integrity
from datasets.corpus import read_table
from datasets.demo.miniature import miniature
from datasets.store import Store
from preprocess.__main__ import main

FEW = {"train": 6, "valid": 3, "test": 3}


def command(*words: str | Path) -> int:
    return main([*map(str, words), "--jobs", "1", "--quiet"])


@pytest.fixture(scope="module")
def tempo(tiny_corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gtzan_tempo")
    miniature("gtzan_tempo", folder, FEW, tiny_corpus)
    return folder


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_what_cannot_be_used_is_found_before_the_split(tempo, tmp_path, capsys):
    data = tmp_path / "data"
    only = data / "only.txt"
    for file in tempo.rglob("*"):
        if file.is_file():
            (data / file.relative_to(tempo)).parent.mkdir(parents=True, exist_ok=True)
            (data / file.relative_to(tempo)).write_bytes(file.read_bytes())
    usable = [path for path in sorted(data.rglob("*.wav")) if path.stem != "jazz.00054"]
    silent, short, slow = usable[:3]
    soundfile.write(silent, np.zeros(15 * 22_050), 22_050)
    soundfile.write(short, np.random.default_rng(0).uniform(-0.5, 0.5, 11 * 22_050), 22_050)
    samples, _ = soundfile.read(slow)
    soundfile.write(slow, samples, 16_000)
    only.write_text(f"{only.read_text()}jazz.00031\nreggae.00086\n")
    store = tmp_path / "audio"
    words = ("gtzan_tempo", data, store, "--audio", "8000", "--only", only, "--max-missing", "0.3")
    assert command(*words) == 0
    said = capsys.readouterr().out
    assert "10 of 13 recordings are stored" in said
    assert "annotations: gtzan_tempo_beat; every recording with its verdict" in said
    assert f"next: python ex_transfer.py describe with datamodule.base_dir={store}" in said
    verdicts = {one.track: one for one in read_integrity(store)}
    assert len(verdicts) == 15
    assert verdicts[silent.stem].reason.startswith("silent")
    assert verdicts[short.stem].reason == "11.00 s long, shorter than 11.89 s"
    assert verdicts["jazz.00054"].reason.startswith("not audio, or damaged")
    assert verdicts["jazz.00031"].reason == "321.64 BPM, outside of 40 to 250"
    assert verdicts["reggae.00086"].reason == "no tempo is annotated"
    assert verdicts[slow.stem].verdict == "accepted"
    assert verdicts[slow.stem].reason == "states 16,000 Hz; published at 22,050 Hz"
    accepted = {one.track for one in verdicts.values() if one.verdict == "accepted"}
    for name in ("tracks.csv", "tracks_all.csv"):
        assert {row["path"] for row in rows(store / name)} == accepted
    by_genre: dict[str, list[str]] = {}
    for row in rows(store / "tracks.csv"):
        by_genre.setdefault(row["genre"], []).append(row["split"])
    assert all(splits.count("train") == len(splits) * 80 // 100 for splits in by_genre.values())
    about = json.loads((store / "corpus.json").read_text())["gtzan_tempo"]
    assert about["annotations"] == "gtzan_tempo_beat"
    assert about["protocols"]["genre"]["published"] == {"train": 788, "valid": 200}


@pytest.mark.parametrize(("corpus", "tracks"), [("candombe", 9), ("smc", 4), ("gtzan_beats", 3)])
def test_beats_are_written_beside_the_store_and_read_with_its_table(corpus, tracks, tiny_corpus, tmp_path, capsys):
    counts = FEW if corpus == "candombe" else {"train": 4} if corpus == "smc" else {"test": 3}
    only = miniature(corpus, tmp_path / "data", counts, tiny_corpus)
    store = tmp_path / "audio"
    assert command(corpus, tmp_path / "data", store, "--audio", "8000", "--only", only) == 0
    assert "annotations: beat_this_annotations" in capsys.readouterr().out
    found = read_table(store / "tracks.csv")
    assert {track.id for track in found} == set(Store(store).ids)
    published = {item.id: item.beats for item in find(corpus).items(tmp_path / "data")}
    for track in found:
        beats = track.annotations["beats"]
        np.testing.assert_array_equal(beats.times, published[track.id].times)
        assert beats.has_downbeats == (corpus != "smc")
        assert 10 < len(beats) < 60
        assert track.annotations["tempo"] == pytest.approx(beats.tempo, abs=0.01)
    if corpus == "candombe":
        assert len(found) == sum(FEW.values())
        fold = read_table(store / "tracks_fold0.csv")
        assert {name: len(fold.split(name)) for name in FEW} == FEW


def test_composed_music_is_heard_where_its_beats_are(tiny_corpus, tmp_path):
    miniature("candombe", tmp_path, {"train": 2, "valid": 0, "test": 0}, tiny_corpus)
    audio = sorted(tmp_path.rglob("*.flac"))
    items = {item.id: item.beats for item in find("candombe").items(tmp_path)}
    assert len(audio) == 2
    for file in audio:
        samples, rate = soundfile.read(file)
        level = np.convolve(samples**2, np.ones(rate // 50), "same")
        rise = np.maximum(level[rate // 50 :] - level[: -rate // 50], 0)
        times = items[file.stem].times
        times = times[(times > 0.1) & (times < len(samples) / rate - 0.2)]
        at_beats = [rise[max(round((time - 0.04) * rate), 0) : round((time + 0.04) * rate)].max() for time in times]
        between = [
            rise[round((time - 0.04) * rate) : round((time + 0.04) * rate)].max()
            for time in (times[1:] + times[:-1]) / 2
        ]
        assert np.mean(at_beats) > np.mean(between)


def test_missing_annotations_are_told_with_what_to_fetch(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for corpus, source in (("ballroom", "CPJKU/beat_this_annotations"), ("gtzan_tempo", "gtzan_tempo_beat")):
        assert command(corpus, tmp_path / "empty", tmp_path / "mels") == 1
        said = capsys.readouterr().err
        assert f"run git clone https://github.com/{source}" in said or source in said
        assert "give that folder with --metadata" in said
