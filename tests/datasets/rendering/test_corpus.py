"""A folder of MIDI files -> a corpus: layout, the same bytes for any number of jobs, resuming, bad files, options."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datasets.demo import DemoError, render_folder
from datasets.demo.__main__ import main
from datasets.demo.rendering.corpus import Settings
from datasets.demo.rendering.recipes import KINDS
from tests.datasets.rendering.songs import song

ROOT = Path(__file__).resolve().parents[3]
ALL = {name: kind.share for name, kind in KINDS.items() if kind.share}
SHORT = Settings(kinds=ALL, seconds=(3.0, 5.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    source = tmp_path_factory.mktemp("midi")
    song(source / "pop" / "one.mid", key=(2, 0))
    song(source / "pop" / "two.mid", [(0, 3, 4)], key=(-1, 1))
    song(source / "jig.mid", [(0, 6, 8)])
    song(source / "drums.mid", drum=True)
    (source / "broken.mid").write_bytes(b"MThd and nothing else")
    return source


@pytest.fixture(scope="module")
def rendered(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("corpus") / "out"
    return render_folder(folder, target, SHORT, limit=10, jobs=1, progress=False), target


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "tracks.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_clip_has_its_truth(rendered):
    report, target = rendered
    table = rows(target)
    assert len(table) == len(report.written) == 10
    assert {row["kind"] for row in table} == set(ALL)
    for row in table:
        info = soundfile.info(target / row["path"])
        assert (info.samplerate, info.channels) == (22050, 1)
        assert 3 <= info.duration <= 5
        times, positions = np.loadtxt(target / row["beats"], ndmin=2).T
        assert (np.diff(times) > 0).all()
        assert 0 <= times[0] < times[-1] <= info.duration
        assert float(row["tempo"]) == pytest.approx(60 / np.median(np.diff(times)), rel=0.01)
        assert positions.min() >= 1
    splits: dict[str, set[str]] = {}
    for row in table:
        splits.setdefault(row["group"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_bad_files_are_listed_and_the_corpus_says_what_it_is(rendered):
    report, target = rendered
    assert [path.name for path, _ in report.skipped] == ["broken.mid"]
    assert "broken.mid" in (target / "skipped.csv").read_text()
    facts = json.loads((target / "corpus.json").read_text())
    assert facts["clips"] == 10
    assert facts["seed"] == 0
    assert facts["clips_by_kind"]["band"] == 4
    assert len(next(iter(facts["soundfonts"].values()))) == 64


def test_any_number_of_jobs_gives_the_same_bytes(rendered, folder, tmp_path):
    _, target = rendered
    render_folder(folder, tmp_path / "out", SHORT, limit=10, jobs=2, progress=False)
    assert digests(tmp_path / "out") == digests(target)


def test_another_seed_gives_others(rendered, folder, tmp_path):
    _, target = rendered
    render_folder(folder, tmp_path / "out", Settings(seed=1, kinds=ALL, seconds=(3.0, 5.0)), limit=3, progress=False)
    assert not set(digests(tmp_path / "out").values()) & {
        digest for name, digest in digests(target).items() if name.endswith(".flac")
    }


def test_a_longer_corpus_keeps_what_is_there(rendered, folder, tmp_path):
    _, target = rendered
    render_folder(folder, tmp_path / "out", SHORT, limit=4, jobs=1, progress=False)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}
    render_folder(folder, tmp_path / "out", SHORT, limit=10, jobs=1, progress=False)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert digests(tmp_path / "out") == digests(target)


@pytest.mark.parametrize("name", ["tracks.csv", "skipped.csv", "corpus.json", "pop/one.flac", "pop/one.beats"])
def test_files_of_others_are_never_replaced(name, folder, tmp_path):
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("{}")
    for _ in range(2):
        with pytest.raises(DemoError, match=rf"{re.escape(str(theirs))}: is there already .*give another folder"):
            render_folder(folder, tmp_path, limit=10, jobs=1, progress=False)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_text() == "{}"


def test_what_was_there_already_is_not_said_to_be_rendered(folder, tmp_path, capsys):
    command = ["render", str(folder), str(tmp_path), "--kinds", "drums", "--seconds", "3", "4", "--jobs", "1"]
    assert main([*command, "--limit", "2"]) == 0
    assert "2 rendered, 1 skipped" in capsys.readouterr().out
    assert main([*command, "--limit", "3"]) == 0
    assert "1 rendered, 2 there already, 1 skipped" in capsys.readouterr().out
    assert main([*command, "--limit", "3"]) == 0
    assert "0 rendered, 3 there already, 1 skipped" in capsys.readouterr().out


def test_a_killed_job_is_finished_by_the_next(rendered, folder, tmp_path):
    _, target = rendered
    options = ["--kinds", "all", "--seconds", "3", "5", "--limit", "10", "--jobs", "1"]
    command = [sys.executable, "-m", "datasets.demo", "render", str(folder), str(tmp_path / "out"), *options]
    job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list((tmp_path / "out").rglob("*.flac")) and time.monotonic() < until and job.poll() is None:
        time.sleep(0.01)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    (tmp_path / "out" / ".left.flac.1.tmp").write_bytes(b"half a file")
    assert main(["render", str(folder), str(tmp_path / "out"), *options]) == 0
    assert digests(tmp_path / "out") == digests(target)


def test_only_what_rendering_left_itself_is_deleted(folder, tmp_path):
    """Folders that people already have other things in are given, too."""
    ours, theirs = tmp_path / ".a.flac.12-34.tmp", tmp_path / ".notes.tmp"
    for file in (ours, theirs):
        file.write_text("begun")
    settings = Settings(kinds={"drums": 1.0})
    render_folder(folder, tmp_path, settings, limit=1, jobs=1, progress=False)
    assert ours.exists()
    render_folder(folder, tmp_path, settings, limit=1, jobs=1, progress=False)
    assert (ours.exists(), theirs.read_text()) == (False, "begun")


def test_a_file_that_has_changed_is_rendered_anew(tmp_path):
    path = song(tmp_path / "midi" / "a.mid")
    report = render_folder(tmp_path / "midi", tmp_path / "out", progress=False)
    before = digests(tmp_path / "out")["a.flac"]
    song(path, quarters=20)
    os.utime(path, ns=(time.time_ns() + 10**9,) * 2)
    render_folder(tmp_path / "midi", tmp_path / "out", progress=False)
    assert digests(tmp_path / "out")["a.flac"] != before
    assert report.written == [tmp_path / "out" / "a.flac"]


def test_a_file_as_it_is_has_its_beats_beside_it(tmp_path):
    song(tmp_path / "midi" / "a.mid", [(0, 3, 4)], [(0, 90)], quarters=24, key=(1, 0))
    render_folder(tmp_path / "midi", tmp_path / "out", progress=False)
    (row,) = rows(tmp_path / "out")
    assert (row["path"], row["tempo"], row["meter"], row["key"]) == ("a.flac", "90.000", "3/4", "G major")
    times, positions = np.loadtxt(tmp_path / "out" / "a.beats").T
    np.testing.assert_allclose(times, np.arange(24) * 60 / 90, atol=1e-4)
    assert positions.tolist() == [1, 2, 3] * 8


def test_other_settings_need_another_folder(rendered, folder):
    _, target = rendered
    with pytest.raises(DemoError, match=r"was made with seed=0, and now it is 1"):
        render_folder(folder, target, Settings(seed=1, kinds=ALL, seconds=(3.0, 5.0)), progress=False)


def test_every_option_of_the_command_arrives(folder, tmp_path, capsys):
    options = "--kinds drums,band=1 --variants 0.5 --seconds 2 3 --rate 44100 --splits train=1 --seed 3 --jobs 1"
    assert main(["render", str(folder), str(tmp_path / "out"), *options.split(), "--keep-splits"]) == 0
    facts = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert facts["kinds"] == {"drums": 0.2, "band": 1.0}
    assert (facts["seconds"], facts["rate"], facts["seed"], facts["keep_splits"]) == ([2, 3], 44100, 3, True)
    assert facts["clips_by_split"] == {"train": 2}
    assert "2 rendered, 1 skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kinds", "opera"], "kind 'opera': expected one of"),
        (["--kinds", "drums=x"], "expected names with shares"),
        (["--kinds", "drums=0"], "one of them above 0"),
        (["--splits", "train=-1"], "expected names with shares"),
        (["--kinds", "all", "--seconds", "9", "5"], "the shortest clip"),
    ],
)
def test_bad_options_are_named(folder, tmp_path, capsys, options, said):
    assert main(["render", str(folder), str(tmp_path / "out"), *options]) == 1
    assert said in capsys.readouterr().err


def test_several_soundfonts_and_the_other_rate(folder, tmp_path):
    from datasets.demo.synth import default_soundfont

    copy = tmp_path / "other.sf2"
    copy.write_bytes(default_soundfont().read_bytes())
    settings = Settings(kinds=ALL, seconds=(3, 3), rate=44100, soundfonts=(default_soundfont(), copy))
    report = render_folder(folder, tmp_path / "out", settings, limit=2, progress=False)
    assert soundfile.info(report.written[0]).samplerate == 44100
    assert len(report.facts["soundfonts"]) == 2
