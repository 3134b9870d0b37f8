"""The corpus on disk: layout, determinism, resuming, and the command line."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mir_eval
import numpy as np
import pytest
import soundfile

from datasets.cache import cache_dir
from datasets.demo import SIZES, DemoError, build
from datasets.demo.__main__ import main
from datasets.demo.make import measures
from datasets.demo.styles import GENRES, TAGS
from datasets.demo.tones import SAMPLE_RATE
from datasets.demo.truth import COLUMNS

ROOT = Path(__file__).resolve().parents[2]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "tracks.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return build("tiny", cache_dir=tmp_path_factory.mktemp("cache"), jobs=1, progress=False)


def test_the_folder_is_laid_out_as_a_user_s_own_corpus(tiny):
    rows = table(tiny)
    count, seconds = SIZES["tiny"]
    assert sorted(path.name for path in tiny.iterdir()) == ["audio", "corpus.json", "tracks.csv"]
    assert len(rows) == count
    assert tuple(rows[0]) == COLUMNS
    for row in rows:
        info = soundfile.info(tiny / "audio" / row["path"])
        assert (info.samplerate, info.channels, info.frames) == (SAMPLE_RATE, 1, round(seconds * SAMPLE_RATE))
        assert row["tags"]
        assert set(row["tags"].split(";")) <= set(TAGS)
        mir_eval.key.validate_key(row["key"])
        assert 60 <= float(row["tempo"]) <= 180
    assert {row["genre"] for row in rows} == set(GENRES)
    for split in ("train", "valid", "test"):
        assert {row["genre"] for row in rows if row["split"] == split} == set(GENRES)
    assert {row["meter"] for row in rows} == {"3/4", "4/4"}
    assert len(list((tiny / "audio").iterdir())) == 2 * count


def test_beat_files_agree_with_the_table(tiny):
    for row in table(tiny):
        times, positions = np.loadtxt((tiny / "audio" / row["path"]).with_suffix(".beats"), delimiter="\t").T
        mir_eval.beat.validate(times, times)
        assert 60 / np.median(np.diff(times)) == pytest.approx(float(row["tempo"]), abs=0.05)
        assert max(positions) == int(row["meter"][0])


def test_corpus_json_says_how_it_was_made(tiny):
    facts = json.loads((tiny / "corpus.json").read_text())
    assert facts["seed"] == 0
    assert facts["size"] == "tiny"
    assert len(facts["soundfont_sha256"]) == 64
    versions = f"v{facts['composer_version']}.{facts['renderer_version']}"
    assert tiny.name == f"tiny-40x6s-seed0-{versions}-{facts['soundfont_sha256'][:8]}"


def test_a_second_build_finds_the_first(tiny):
    before = (tiny / "tracks.csv").stat().st_mtime_ns
    assert build("tiny", cache_dir=tiny.parents[1], progress=False) == tiny
    assert (tiny / "tracks.csv").stat().st_mtime_ns == before


def test_a_size_that_has_changed_is_built_anew(tmp_path, monkeypatch):
    folders = []
    for seconds in (1.0, 2.0):
        monkeypatch.setitem(SIZES, "tiny", (1, seconds))
        folders.append(build("tiny", cache_dir=tmp_path, progress=False))
    assert [soundfile.info(folder / "audio" / "00000.flac").duration for folder in folders] == [1.0, 2.0]


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(tiny, tmp_path):
    again = build("tiny", cache_dir=tmp_path, jobs=4, progress=False)
    assert digests(again) == digests(tiny)


def test_another_seed_gives_another_corpus(tmp_path):
    folders = [build(2, seed=seed, cache_dir=tmp_path, progress=False) for seed in (0, 1)]
    first, second = (digests(folder) for folder in folders)
    assert first["audio/00000.flac"] != second["audio/00000.flac"]


def test_a_killed_build_goes_on_where_it_was(tmp_path):
    """A real process, killed in the middle, then the same build: finished tracks are kept, the result is the same."""
    count = 60
    command = [sys.executable, "-m", "datasets.demo", "--size", str(count), "--output", str(tmp_path / "cut")]
    process = subprocess.Popen(
        [*command, "--jobs", "1"], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while len(done := list((tmp_path / "cut").glob("demo/.*.partial/rows/*.json"))) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = [path for path in (tmp_path / "cut").glob("demo/.*.partial/rows/*.json") if not path.name.startswith(".")]
    assert 3 <= len(done) < count
    assert not list((tmp_path / "cut").glob("demo/[!.]*")), "nothing looks finished"
    audio = done[0].parents[1] / "audio" / f"{done[0].stem}.flac"
    written = audio.stat().st_mtime_ns
    resumed = build(count, cache_dir=tmp_path / "cut", progress=False)
    assert (resumed / "audio" / audio.name).stat().st_mtime_ns == written
    assert sorted(path.name for path in resumed.iterdir()) == ["audio", "corpus.json", "tracks.csv"]
    assert len(table(resumed)) == count
    assert not [path for path in resumed.rglob("*") if path.name.endswith(".tmp")]
    whole = build(count, cache_dir=tmp_path / "whole", progress=False)
    assert digests(resumed) == digests(whole)


def test_two_processes_may_ask_for_the_same_corpus_at_once(tmp_path):
    command = [sys.executable, "-m", "datasets.demo", "--size", "4", "--output", str(tmp_path)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    said = {process.communicate(timeout=240)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(said) == 1
    assert len(table(Path(said.pop().decode().strip()))) == 4


@pytest.mark.parametrize("size", ["big", 0, -3, "0", True, 2.5])
def test_an_impossible_size_is_named(size, tmp_path):
    with pytest.raises(DemoError, match=r"size=.*tiny, small"):
        build(size, cache_dir=tmp_path)


def test_any_number_is_a_size():
    assert measures(7) == measures("7") == ("n7", 7, SIZES["small"][1])


def test_the_cache_follows_its_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    assert build(1, progress=False).is_relative_to(tmp_path / "here")
    monkeypatch.delenv("OSTINATO_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "ostinato"


def test_the_command_line_builds_and_complains(tmp_path, capsys):
    assert main(["--size", "1", "--output", str(tmp_path), "--jobs", "1"]) == 0
    assert os.path.isdir(capsys.readouterr().out.strip())
    assert main(["--size", "huge", "--output", str(tmp_path)]) == 1
    assert main(["--size", "1", "--output", str(tmp_path), "--soundfont", str(tmp_path / "none.sf2")]) == 1
    errors = capsys.readouterr().err
    assert "error: size='huge'" in errors
    assert "none.sf2: no such file" in errors
    (tmp_path / "file").touch()
    assert main(["--size", "1", "--output", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'file' / 'demo'}: Not a directory\n"
