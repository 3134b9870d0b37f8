"""A folder to a store: everything accounted for, resumable, by any joblib backend."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest

from datasets.store import Store, StoreError
from models.frontends import build
from preprocess import AudioError, build_store
from preprocess.__main__ import summary
from preprocess.build_report import changed_line
from preprocess.features import track_features
from preprocess.files import Candidate
from preprocess.groups import GROUP_BYTES, groups
from preprocess.renewal import drop_outdated

Write = Callable[..., Path]


@pytest.fixture
def corpus(tmp_path: Path, clips: list[Path]) -> Path:
    """Three real recordings in two folders."""
    folder = tmp_path / "corpus"
    for name, source in (("a/first.ogg", clips[2]), ("a/second.ogg", clips[5]), ("kick.mp3", clips[0])):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
    return folder


def quickly(audio: Path, store: Path, **settings):
    return build_store(audio, store, **{"jobs": 1, "progress": False, **settings})


def test_stores_the_features_of_real_clips(corpus: Path, tmp_path: Path):
    frontend = build("musicnn")
    report = quickly(corpus, tmp_path / "store")
    store = Store(tmp_path / "store", fingerprint=frontend.fingerprint, kind="mel")
    assert store.ids == ["a/first.ogg", "a/second.ogg", "kick.mp3"]
    assert store.header.producer == frontend.parameters_dict
    for id in store.ids:
        track = track_features(corpus / id, frontend)
        np.testing.assert_array_equal(store.read(id), track.frames)
        assert store.row(id)["duration"] == pytest.approx(track.seconds)
        assert store.row(id)["source"] == str(corpus / id)
    assert (report.written, report.already, report.decoded, report.skipped, report.noted) == (3, 0, 3, [], [])
    assert report.seconds == pytest.approx(sum(store.table()["duration"].to_pylist()))


def test_a_second_run_opens_no_file(corpus: Path, tmp_path: Path):
    quickly(corpus, tmp_path / "store")
    report = quickly(corpus, tmp_path / "store")
    assert (report.written, report.already, report.decoded) == (0, 3, 0)


def test_new_files_are_added(corpus: Path, tmp_path: Path, clips: list[Path]):
    quickly(corpus, tmp_path / "store")
    shutil.copy(clips[3], corpus / "new.ogg")
    report = quickly(corpus, tmp_path / "store")
    assert (report.written, report.already, report.decoded) == (1, 3, 1)
    assert len(Store(tmp_path / "store")) == 4


def test_a_file_replaced_under_the_same_name_is_reported(corpus: Path, tmp_path: Path, clips: list[Path]):
    quickly(corpus, tmp_path / "store")
    before = Store(tmp_path / "store").read("a/first.ogg")
    shutil.copy(clips[3], corpus / "a/first.ogg")
    for _ in range(2):  # as long as it is so
        report = quickly(corpus, tmp_path / "store")
        assert (report.written, report.already, report.changed) == (0, 3, ["a/first.ogg"])
    np.testing.assert_array_equal(Store(tmp_path / "store").read("a/first.ogg"), before)
    line = changed_line(report, "another STORE_DIR")
    assert line.startswith("1 file has another size or date")
    assert "a/first.ogg" in line
    (tmp_path / "store" / "sources.jsonl").unlink()  # the way out that the line names
    assert quickly(corpus, tmp_path / "store").changed == []
    os.utime(corpus / "kick.mp3", ns=(1, 1))
    assert quickly(corpus, tmp_path / "store").changed == ["kick.mp3"]


def test_a_second_process_waits_and_finds_everything_there(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    line = [sys.executable, "-m", "preprocess", str(corpus), str(tmp_path / "store"), "--jobs", "1", "--quiet"]
    second: list[subprocess.Popen[str]] = []
    said: list[str] = []

    def watched(path: Path, *rest):
        if not second:
            root = Path(__file__).parents[2]
            process = subprocess.Popen(line, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            second.append(process)
            said.append(process.stderr.readline())
        return track_features(path, *rest)

    monkeypatch.setattr("preprocess.recipes.track_features", watched)
    assert quickly(corpus, tmp_path / "store").written == 3
    out, rest = second[0].communicate(timeout=240)
    assert said == [f"{tmp_path / 'store'}: another process is filling it; waiting\n"]
    assert rest == ""
    assert "0 tracks written (0.00 hours of audio), 3 already there" in out


@pytest.mark.usefixtures("no_ffmpeg")
def test_bad_files_are_skipped_and_listed_and_the_run_goes_on(write: Write, kick: Path, tmp_path: Path):
    good = {
        write("in/8khz.wav", rate=8000),
        write("in/96khz.wav", rate=96000, channels=2),
        write("in/surround.wav", rate=48000, channels=6),
    }
    bad = {
        write("in/short.wav", seconds=0.01): "too short: 0.010 s",
        write("in/silent.wav", scale=0): "silent: ",
        write("in/nan.wav", scale=np.nan): "NaN, Inf or far over full scale",
        write("in/none.wav", seconds=0): "no samples",
        tmp_path / "in/words.mp3": "not audio, or damaged",
        tmp_path / "in/empty.flac": "empty file",
        tmp_path / "in/apple.m4a": "not audio, or damaged: libsndfile does not read it, and there is no ffmpeg",
        tmp_path / "in/gone.wav": "no such file",
        tmp_path / "in/pipe.wav": "not a regular file",
    }
    (tmp_path / "in/words.mp3").write_text("words " * 1000)
    (tmp_path / "in/empty.flac").write_bytes(b"")
    (tmp_path / "in/apple.m4a").write_bytes(b"\0\0\0 ftypM4A ")
    (tmp_path / "in/gone.wav").symlink_to(tmp_path / "nowhere.wav")
    os.mkfifo(tmp_path / "in/pipe.wav")
    (tmp_path / "in/tracks.csv").write_text("path\n")
    truncated = write("in/truncated.mp3", seconds=20, rate=44100)
    truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size // 2])

    report = quickly(tmp_path / "in", tmp_path / "store")
    assert set(Store(tmp_path / "store").ids) == {path.name for path in good} | {"truncated.mp3"}
    assert dict(report.skipped).keys() == {path.name for path in bad}
    for path, reason in bad.items():
        assert dict(report.skipped)[path.name].startswith(reason)
    assert [id for id, _ in report.noted] == ["truncated.mp3"]
    assert (report.written, report.decoded, report.ignored) == (4, 13, {".csv": 1})
    lines = (tmp_path / "store" / "skipped.csv").read_text().splitlines()
    assert len(lines) == 1 + len(bad)
    assert (tmp_path / "store" / "notes.csv").read_text().splitlines()[1].startswith("truncated.mp3,cut short: ")

    again = quickly(tmp_path / "in", tmp_path / "store")
    assert again.skipped == report.skipped
    assert again.noted == report.noted
    assert (again.written, again.already, again.decoded) == (0, 4, 1)  # only the file that was not there is looked for
    assert quickly(tmp_path / "in", tmp_path / "store", retry=True).decoded == len(bad)


def test_a_mended_file_is_tried_again(write: Write, corpus: Path, tmp_path: Path):
    path = corpus / "late.wav"
    path.write_bytes(b"RIFF")
    assert len(quickly(corpus, tmp_path / "store").skipped) == 1
    write("good.wav").replace(path)
    report = quickly(corpus, tmp_path / "store")
    assert (report.written, report.skipped) == (1, [])
    assert not (tmp_path / "store" / "skipped.csv").exists()


def test_folders_that_cannot_be_listed_are_listed_and_their_tracks_stay(
    corpus: Path, tmp_path: Path, refuse: Callable[[Path], None]
):
    quickly(corpus, tmp_path / "store")
    refuse(corpus / "a")
    assert not drop_outdated(corpus, tmp_path / "store", "musicnn")
    report = quickly(corpus, tmp_path / "store")
    assert report.skipped == [("a/", "folder cannot be read: Permission denied")]
    assert (tmp_path / "store" / "skipped.csv").read_text().splitlines()[1].startswith("a/,folder cannot be read")
    assert len(Store(tmp_path / "store").ids) == 3


def test_files_that_are_gone_outdate_a_store(corpus: Path, tmp_path: Path):
    quickly(corpus, tmp_path / "store")
    (corpus / "a" / "first.ogg").unlink()
    assert drop_outdated(corpus, tmp_path / "store", "musicnn")


def test_folders_of_the_system_are_passed_over_with_a_word(corpus: Path, tmp_path: Path):
    shutil.copytree(corpus / "a", corpus / "#recycle" / "a")
    report = quickly(corpus, tmp_path / "store")
    assert (report.written, report.passed_over) == (3, ["#recycle"])
    assert "system folders that were not searched: #recycle" in list(summary(report))


def test_only_the_ids_asked_for(corpus: Path, tmp_path: Path):
    report = quickly(corpus, tmp_path / "store", ids=["kick.mp3", "missing.wav"])
    assert Store(tmp_path / "store").ids == ["kick.mp3"]
    assert report.skipped == [("missing.wav", "no such file")]
    assert quickly(corpus, tmp_path / "store", ids=["a/first.ogg"]).skipped == []
    assert "missing.wav" in (tmp_path / "store" / "skipped.csv").read_text()


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_any_backend_and_number_of_workers_gives_the_same_store(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
):
    monkeypatch.setattr("preprocess.groups.WORKER_BYTES", 1)
    quickly(corpus, tmp_path / "one")
    with joblib.parallel_config(backend=backend):
        report = quickly(corpus, tmp_path / "two", jobs=2)
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    assert report.written == 3
    assert one.ids == two.ids
    for id in one.ids:
        np.testing.assert_array_equal(one.read(id), two.read(id))


def test_one_file_never_ends_the_run(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(path: Path, *rest):
        if path.name == "kick.mp3":
            raise RuntimeError("a bug in a library")
        return track_features(path, *rest)

    monkeypatch.setattr("preprocess.recipes.track_features", broken)
    report = quickly(corpus, tmp_path / "store")
    assert (report.written, report.skipped) == (2, [("kick.mp3", "failed with RuntimeError: a bug in a library")])


def test_no_usable_file_at_all_is_an_error(write: Write, tmp_path: Path):
    write("in/silent.wav", scale=0)
    write("in/short.wav", seconds=0.01)
    with pytest.raises(AudioError, match=r"none of 2 files could be used \(1 .*, 1 .*\): see .*skipped\.csv"):
        quickly(tmp_path / "in", tmp_path / "store")
    assert len((tmp_path / "store" / "skipped.csv").read_text().splitlines()) == 3


def test_a_store_of_another_front_end_is_left_alone(corpus: Path, tmp_path: Path):
    quickly(corpus, tmp_path / "store", ids=["kick.mp3"])
    with pytest.raises(StoreError, match=r"(?s)fingerprint.*window"):
        quickly(corpus, tmp_path / "store", frontend="musicnn_torch")
    assert Store(tmp_path / "store").ids == ["kick.mp3"]


def test_whole_tracks_and_their_middles_do_not_mix(corpus: Path, tmp_path: Path):
    quickly(corpus, tmp_path / "store", ids=["kick.mp3"], max_seconds=1.5)
    assert quickly(corpus, tmp_path / "store", ids=["kick.mp3"], max_seconds=1.5).already == 1
    for other, wanted in ((None, "whole tracks are"), (2, "the middle 2 s of tracks are")):
        with pytest.raises(StoreError, match=f"holds the middle 1.5 s of tracks, {wanted} asked for"):
            quickly(corpus, tmp_path / "store", max_seconds=other)
    quickly(corpus, tmp_path / "whole", ids=["kick.mp3"])
    with pytest.raises(StoreError, match="holds whole tracks, the middle 2 s"):
        quickly(corpus, tmp_path / "whole", max_seconds=2)


def test_wrong_folders_make_no_store(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for folder, message in (("missing", "no such folder"), ("empty", "no audio file in this folder")):
        with pytest.raises(AudioError, match=message):
            quickly(tmp_path / folder, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"jobs": 0}, "jobs=0"), ({"max_seconds": 0.0}, "max_seconds=0"), ({"frontend": "mel"}, "musicnn_torch")],
)
def test_settings_out_of_range(corpus: Path, tmp_path: Path, settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        quickly(corpus, tmp_path / "store", **settings)


@pytest.mark.parametrize(("size", "workers", "longest"), [(1000, 1, 25), (1000, 4, 6), (GROUP_BYTES, 1, 1)])
def test_groups_are_small_enough_to_keep_all_workers_busy(size: int, workers: int, longest: int):
    files = [Candidate(f"{number}", Path(), size) for number in range(100)]
    found = list(groups(files, workers))
    assert sorted(file.id for group in found for file in group) == sorted(file.id for file in files)
    assert max(map(len, found)) == longest
