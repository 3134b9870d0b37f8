"""Published corpora by the command: from a miniature in the published layout to a store with its tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datasets.corpora import find
from datasets.corpus import read_table
from datasets.demo.miniature import miniature
from datasets.store import Store
from experiments.configs.targets import TARGETS
from models.frontends import build
from preprocess import published
from preprocess.__main__ import main
from preprocess.build import build_store
from preprocess.build_report import BuildReport
from preprocess.features import clip_features, track_features
from preprocess.protocols import Prepared, summary
from preprocess.sources import AudioError

FEW = {"train": 4, "valid": 3, "test": 3}


def command(*words: str | Path) -> int:
    return main([*map(str, words), "--jobs", "1", "--quiet"])


@pytest.fixture(scope="module")
def gtzan(tiny_corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gtzan")
    miniature("gtzan", folder, FEW, tiny_corpus)
    return folder


@pytest.fixture
def copy(gtzan, tmp_path) -> Path:
    """A copy of the miniature that a test may spoil."""
    folder = tmp_path / "data"
    for path in gtzan.rglob("*.wav"):
        target = folder / path.relative_to(gtzan)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(path)
    (folder / "only.txt").write_text((gtzan / "only.txt").read_text())
    return folder


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_store_with_its_table_and_what_there_is_to_say(copy, tmp_path, capsys):
    store = tmp_path / "mels"
    assert command("gtzan", copy, store, "--only", copy / "only.txt") == 0
    said = capsys.readouterr().out
    assert "GTZAN: 10 of 10 recordings are stored in" in said
    assert "not a published test" in said
    assert "4 train, 3 valid, 3 test" in said
    assert f"datamodule.base_dir={store}" in said
    corpus = read_table(store / "tracks.csv")
    assert [len(corpus.split(name)) for name in FEW] == [4, 3, 3]
    assert {track.id for track in corpus} == set(Store(store).ids)
    assert all(track.annotations["genre"] == track.id.split(".")[0] for track in corpus)
    about = json.loads((store / "corpus.json").read_text())["gtzan"]
    assert about["protocols"]["fault-filtered"]["published"] == {"train": 443, "valid": 197, "test": 290}
    assert about["protocols"]["fault-filtered"]["stored"] == FEW
    assert about["cut_to"] == "only.txt"
    assert command("gtzan", copy, store, "--only", copy / "only.txt") == 0
    assert "(0 new" in capsys.readouterr().out


def test_a_store_of_audio_with_its_table(copy, tmp_path, capsys):
    store = tmp_path / "audio"
    assert command("gtzan", copy, store, "--only", copy / "only.txt", "--audio", "16000") == 0
    said = capsys.readouterr().out
    assert "GTZAN: 10 of 10 recordings are stored in" in said
    assert f"next: python ex_transfer.py with NETWORK datamodule.base_dir={store}" in said
    assert Store(store).header.kind == "audio"
    assert {track.id for track in read_table(store / "tracks.csv")} == set(Store(store).ids)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_store_where_a_named_config_looks_for_it_is_named_by_that(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    definition = find("giantsteps_key" if target.folder == "giantsteps" else target.folder)
    protocol = target.table.removeprefix("tracks_").removesuffix(".csv") or definition.protocol()
    kind, command = ("audio", "describe with") if target.audio else ("mels", "maest_30s_inference")
    for store, said in (("data/{}/{}", f"target_{target.name}"), ("{}", f"datamodule.base_dir={target.folder}")):
        place = Path(store.format(target.folder, kind))
        done = Prepared(definition, (), place, BuildReport(place), tables={protocol: place / "tracks.csv"})
        assert list(summary(done))[-1].endswith(f"{command} {said}")


def test_what_is_missing_or_unreadable_stays_in_the_table_and_is_listed(copy, tmp_path, capsys):
    first, second, *_ = sorted(copy.rglob("*.wav"))
    first.unlink()
    second.unlink()
    second.write_bytes(b"not audio")
    store = tmp_path / "mels"
    assert command("gtzan", copy, store, "--only", copy / "only.txt") == 1
    assert (
        "1 of 10 recordings are missing or unreadable (10.0%, more than --max-missing=0.05)" in capsys.readouterr().err
    )
    assert not (store / "tracks.csv").exists()
    assert command("gtzan", copy, store, "--only", copy / "only.txt", "--max-missing", "0.1") == 1
    said = capsys.readouterr().err
    assert "2 of 10 recordings" in said
    assert "or cut the corpus to a list of ids (--only LIST)" in said
    assert command("gtzan", copy, store, "--only", copy / "only.txt", "--max-missing", "0.2") == 0
    said = capsys.readouterr().out
    assert f"not stored: {first.stem} (" in said
    assert f"not stored: {second.stem} (" in said
    assert {row["id"] for row in rows(store / "missing.csv")} == {first.stem, second.stem}
    assert len(rows(store / "tracks.csv")) == 10
    assert len(Store(store).ids) == 8


def test_the_file_that_is_damaged_in_many_copies_is_told_by_name(tmp_path, copy, capsys):
    (copy / "only.txt").write_text((copy / "only.txt").read_text() + "jazz.00054\n")
    (copy / "genres" / "jazz").mkdir(exist_ok=True)
    (copy / "genres" / "jazz" / "jazz.00054.wav").write_bytes(b"RIFF")
    arguments = ("gtzan", copy, tmp_path / "mels", "--only", copy / "only.txt", "--max-missing", "0.1")
    assert command(*arguments) == 0
    said = capsys.readouterr().out
    assert "not stored: jazz.00054 (train): not audio" in said
    assert "damaged in the copies on Kaggle" in said


def test_protocols_share_a_store(tiny_corpus, tmp_path):
    only = miniature("mtt", tmp_path / "data", {"train": 2, "valid": 1, "test": 1}, tiny_corpus)
    untagged = next(item for item in find("mtt").items() if "public" not in item.rows)
    place = tmp_path / "data" / find("mtt").place(untagged)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(next((tmp_path / "data").rglob("*.mp3")).read_bytes())
    only.write_text(only.read_text() + f"{untagged.id}\n")
    assert command("mtt", tmp_path / "data", tmp_path / "mels", "--only", only) == 0
    assert len(rows(tmp_path / "mels" / "tracks.csv")) == 5
    assert len(rows(tmp_path / "mels" / "tracks_public.csv")) == 4
    tags = {row["path"]: row["tags"] for row in rows(tmp_path / "mels" / "tracks.csv")}
    assert tags[untagged.id] == "-"
    assert command("mtt", tmp_path / "data", tmp_path / "public", "--only", only, "--protocol", "public") == 0
    assert len(Store(tmp_path / "public").ids) == 4


def test_clips_of_songs_from_two_corpora_make_one_table(tiny_corpus, tmp_path, capsys):
    data, store = tmp_path / "data", tmp_path / "mels"
    miniature("giantsteps_mtg_key", data, {"train": 1, "valid": 1}, tiny_corpus)
    only = miniature("giantsteps_key", data, {"test": 1}, tiny_corpus)
    assert command("giantsteps_mtg_key", data, store, "--only", only) == 0
    assert len(rows(store / "tracks.csv")) == 5  # the test song is named, though it has no features yet
    assert command("giantsteps_key", data, store, "--only", only) == 0
    assert "clips of 30 s: 2 test (published: 2406 test)" in capsys.readouterr().out
    table = rows(store / "tracks.csv")
    assert [row["path"] for row in table] == [f"{row['group']}-{number % 2}" for number, row in enumerate(table)]
    assert sorted(Store(store).ids) == sorted(row["path"] for row in table)
    assert {Store(store).length(row["path"]) for row in table} == {1876}
    first, second = (Store(store).read(row["path"]) for row in table[:2])
    assert not np.array_equal(first, second)
    assert set(json.loads((store / "corpus.json").read_text())) == {"giantsteps_mtg_key", "giantsteps_key"}


def test_other_tracks_of_a_store_are_no_clips(tiny_corpus, tmp_path, write, capsys):
    write("own/take-two.wav", 1.0)
    data, store = tmp_path / "data", tmp_path / "mels"
    build_store(tmp_path / "own", store, jobs=1, progress=False)
    only = miniature("giantsteps_key", data, {"test": 1}, tiny_corpus)
    assert command("giantsteps_key", data, store, "--only", only) == 0
    assert "clips of 30 s: 2 test" in capsys.readouterr().out


def test_a_place_that_is_no_folder_is_told(copy, tmp_path, capsys):
    (tmp_path / "mels").touch()
    assert command("gtzan", copy, tmp_path / "mels", "--only", copy / "only.txt") == 1
    assert f"error: {tmp_path / 'mels'}: File exists" in capsys.readouterr().err


def test_a_clip_is_what_a_file_of_its_own_would_be(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000 * 7).astype(np.float32)
    soundfile.write(tmp_path / "song.wav", samples, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "second.wav", samples[48_000:96_000], 16_000, subtype="FLOAT")
    clips = clip_features(tmp_path / "song.wav", build("musicnn"), 3.0)
    assert len(clips) == 2
    np.testing.assert_array_equal(clips[1].frames, track_features(tmp_path / "second.wav", build("musicnn")).frames)
    with pytest.raises(AudioError, match=r"too short: 7.000 s, one clip is 8 s"):
        clip_features(tmp_path / "song.wav", build("musicnn"), 8.0)
    assert len(clip_features(tmp_path / "song.wav", build("musicnn"), 3.54)) == 2  # 0.08 s are lacking


def test_a_song_of_which_only_some_clips_were_stored_is_completed(tmp_path, monkeypatch):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000 * 6).astype(np.float32)
    soundfile.write(tmp_path / "song.wav", samples, 16_000)
    files = {"song": tmp_path / "song.wav"}
    from datasets.store import StoreWriter

    adopt = StoreWriter.adopt

    def all_but_the_last(self, rows):
        assert rows[-1]["id"] == "song-0"
        adopt(self, rows[:-1])
        raise KeyboardInterrupt

    monkeypatch.setattr(StoreWriter, "adopt", all_but_the_last)
    with pytest.raises(KeyboardInterrupt):
        build_store(tmp_path, tmp_path / "mels", jobs=1, ids=files, progress=False, clip_seconds=2.0)
    monkeypatch.undo()
    assert sorted(Store(tmp_path / "mels").ids) == ["song-1", "song-2"]
    report = build_store(tmp_path, tmp_path / "mels", jobs=1, ids=files, progress=False, clip_seconds=2.0)
    assert report.written == 1
    assert sorted(Store(tmp_path / "mels").ids) == ["song-0", "song-1", "song-2"]
    assert build_store(tmp_path, tmp_path / "mels", jobs=1, ids=files, progress=False, clip_seconds=2.0).already == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gtzan", "none", "mels"), "none: no such folder; give the folder that holds GTZAN"),
        (("gtzan", "empty", "mels"), "nothing of GTZAN in it (930 recordings wanted, 0 other audio files found)"),
        (("emomusic", "empty", "mels"), "files lie like empty/clips_45seconds/2.mp3"),
        (("gtzan", "empty", "mels", "--only", "no.txt"), "no.txt: no list of recordings"),
        (("gtzan", "empty", "mels", "--only", "wrong.txt"), "GTZAN has no recording 'jazz'"),
        (("mtt", "empty", "mels", "--protocol", "pons"), "no protocol 'pons'; valid: all, public"),
        (("gtzan", "empty", "mels", "--max-missing", "5"), "max_missing=5.0: give a share"),
        (("giantsteps_key", "empty", "mels", "--max-seconds", "9"), "is cut into clips of 30 s: leave max_seconds out"),
        (("jamendo", "empty", "mels"), "run git clone https://github.com/MTG/mtg-jamendo-dataset and give that folder"),
        (("jamendo", "empty", "mels", "--metadata", "empty"), "looked for data/splits/split-0"),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong.txt").write_text("jazz\n")
    assert command(*words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_list_without_recordings_of_the_corpus(tmp_path):
    (tmp_path / "only.txt").write_text("0005061\n")
    with pytest.raises(ValueError, match="none of its recordings is in GiantSteps key"):
        published.prepare(find("giantsteps_key"), tmp_path, tmp_path / "mels", only=tmp_path / "only.txt")


@pytest.mark.parametrize(("name", "label"), [("msd", "tags"), ("librispeech", "genre")])
def test_corpora_whose_annotations_say_their_size_are_stored_as_they_say(name, label, tiny_corpus, tmp_path, capsys):
    only = miniature(name, tmp_path / "data", FEW, tiny_corpus)
    assert command("clmr", name, only.parent, tmp_path / "store") == 1  # most of the recordings are not there
    assert "recordings are missing or unreadable" in capsys.readouterr().err
    assert command("clmr", name, only.parent, tmp_path / "store", "--max-missing", "1") == 0
    said = capsys.readouterr().out
    assert "4 train, 3 valid, 3 test, not all that is annotated" in said
    written = rows(tmp_path / "store" / "tracks.csv")
    assert len(written) == len(find(name).items(tmp_path / "data" / ("processed_annotations" if name == "msd" else "")))
    assert all(row[label] for row in written)
    assert len(rows(tmp_path / "store" / "missing.csv")) == len(written) - 10
    assert command("clmr", name, only.parent, tmp_path / "cut", "--only", only) == 0
    assert "all that is annotated" in capsys.readouterr().out
    assert len(Store(tmp_path / "cut").ids) == 10
