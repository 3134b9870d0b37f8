"""The tables of what is not in a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from preprocess.files import AudioFiles, Candidate
from preprocess.ledger import Ledger
from preprocess.sources import NO_FFMPEG, AudioError

FILE = Candidate('a, "b"\n.wav', Path("a.wav"), 10, 123456789012345678)


def reopened(folder: Path, ledger: Ledger) -> Ledger:
    ledger.save()
    return Ledger(folder)


def test_remembers_over_runs(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.skip(FILE, "silent: peak 0.0, of full scale")
    ledger.keep(Candidate("c.mp3", Path("c.mp3"), 5, 6), ["truncated: kept 1 s", "odd"])
    again = reopened(tmp_path, ledger)
    assert again.skipped == ledger.skipped
    assert again.noted["c.mp3"].note == "truncated: kept 1 s; odd"
    assert again.settled(FILE)
    assert (tmp_path / "skipped.csv").read_text().startswith("id,reason,bytes,mtime_ns\n")


@pytest.mark.parametrize("change", [{"bytes": 11}, {"mtime_ns": 5}, {"id": "other"}])
def test_a_changed_file_is_not_settled(tmp_path: Path, change: dict):
    ledger = Ledger(tmp_path)
    ledger.skip(FILE, "silent")
    assert not ledger.settled(replace(FILE, **change))


def test_a_missing_file_is_looked_for_every_time(tmp_path: Path):
    ledger, missing = Ledger(tmp_path), Candidate("a", Path("a"))
    ledger.skip(missing, "no such file")
    assert not ledger.settled(missing)


def test_sources_are_remembered_and_a_line_cut_short_tells_nothing(tmp_path: Path):
    ledger, later = Ledger(tmp_path), replace(FILE, mtime_ns=5)
    assert not ledger.changed(FILE)
    ledger.remember([FILE, Candidate("missing", Path("missing"))])
    with (tmp_path / "sources.jsonl").open("a") as lines:
        lines.write('["b.wav", 10, 1')
    again = Ledger(tmp_path)
    assert again.sources == {FILE.id: (10, 123456789012345678)}
    assert again.changed(later)
    assert not again.changed(FILE)
    assert not again.changed(Candidate(FILE.id, FILE.path))  # gone, not changed
    again.remember([later])
    assert not Ledger(tmp_path).changed(later)


@pytest.mark.usefixtures("no_ffmpeg")
def test_waits_for_ffmpeg(tmp_path: Path, request: pytest.FixtureRequest):
    ledger = Ledger(tmp_path)
    ledger.skip(FILE, f"not audio, and {NO_FFMPEG}")
    assert ledger.settled(FILE)
    request.getfixturevalue("ffmpeg")
    assert not ledger.settled(FILE)


def test_what_could_not_be_read_is_tried_again(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.skip(FILE, "cannot be read: Input/output error")
    assert not ledger.settled(FILE)


def test_folders_that_could_not_be_listed_stand_in_the_table_as_long_as_that_is_so(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.skip(Candidate("private/a.wav", Path("private/a.wav")), "silent")
    ledger.list_folders(AudioFiles(unlisted={"private/": "folder cannot be read: Permission denied"}))
    assert set(ledger.skipped) == {"private/", "private/a.wav"}
    ledger.list_folders(AudioFiles([Candidate("private/a.wav", Path("private/a.wav"))]))
    assert set(ledger.skipped) == {"private/a.wav"}


def test_a_file_that_was_mended_leaves_the_table(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.skip(FILE, "silent")
    ledger.save()
    ledger.keep(FILE, [])
    assert reopened(tmp_path, ledger).skipped == {}
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_gone_leave_the_table(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.skip(FILE, "silent")
    ledger.list_folders(AudioFiles([Candidate("other", Path("other"))]))
    assert ledger.skipped == {}


@pytest.mark.parametrize(
    "text", ["", "id,why\na,b\n", "id,reason,bytes,mtime_ns\na,b\n", "id,reason,bytes,mtime_ns\na,b,c,d\n"]
)
def test_a_damaged_table_is_named(tmp_path: Path, text: str):
    (tmp_path / "skipped.csv").write_text(text)
    with pytest.raises(AudioError, match=r"skipped\.csv: damaged table .*delete it"):
        Ledger(tmp_path)
