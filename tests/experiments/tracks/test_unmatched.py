"""Tracks without a partner: reported, listed, refused where they are too many."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from datasets.corpus import Corpus, Track
from experiments.errors import UserError
from experiments.tasks import build
from experiments.tracks.unmatched import match, report_unannotated

KEYS = {"a": {"key": "C major"}, "b": {"key": "Am"}, "c": {"genre": "rock"}, "d": {}}


def corpus() -> Corpus:
    return Corpus("songs", tuple(Track(name, "train", annotations) for name, annotations in KEYS.items()))


@pytest.fixture
def run(tmp_path):
    kept: list[Path] = []
    return SimpleNamespace(directory=tmp_path, is_global_zero=True, kept=kept, add_artifact=kept.append)


def test_what_is_on_one_side_alone_is_said_and_listed(run, capsys):
    found, stored = match(corpus(), ["b", "a", "e", "f", "g", "h"], Path("mels"), 1.0, run)
    assert [track.id for track in found] == ["a", "b"]
    assert stored == {"a": "a", "b": "b"}
    message = capsys.readouterr().err
    assert "2 tracks are labelled but not in mels and not used: c, d\n" in message
    assert "4 tracks are without labels in mels and not used: e, f, g, ...\n" in message
    (file,) = run.kept
    assert file.read_text().split("\n")[:4] == [
        "track,reason", "c,labelled but not in mels", "d,labelled but not in mels", "e,without labels in mels"
    ]  # fmt: skip


def test_nothing_is_listed_where_every_track_is_used(run, capsys):
    match(corpus(), list(KEYS), Path("mels"), 0, run)
    report_unannotated(build("key"), corpus().annotated("key"), 0, run)
    assert run.kept == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("stored", "most", "message"),
    [
        (["a", "b", "c"], 0.2, r"max_unmatched=0\.2: 1 of 4 tracks \(25\.0%\) is labelled but not in mels; all of"),
        (["a", "b", "c", "d", "e"], 0.19, r"1 of 5 tracks \(20\.0%\) is without labels in mels"),
        (["a", "b", "c", "d", "e"], 0.2, None),
    ],
)
def test_too_many_are_an_error(run, stored, most, message):
    if message is None:
        match(corpus(), stored, Path("mels"), most, run)
        return
    with pytest.raises(UserError, match=message):
        match(corpus(), stored, Path("mels"), most, run)
    assert run.kept  # the list is there to look at


def test_tracks_without_the_annotation_of_a_task(run, capsys):
    report_unannotated(build("key"), corpus(), 1.0, run)
    assert "2 tracks are without key (task key) and not used: c, d" in capsys.readouterr().err
    assert run.kept[0].name == "unmatched_key.csv"
    with pytest.raises(UserError, match=r"2 of 4 tracks \(50\.0%\) are without key"):
        report_unannotated(build("key"), corpus(), 0.4, run)
    with pytest.raises(UserError, match="are without arousal and valence"):
        report_unannotated(build("emotion", mean=[0, 0], scale=[1, 1]), corpus(), 0.4)


def test_paths_in_another_case_are_paired_and_said(run, capsys):
    found, stored = match(corpus(), ["A", "B", "c", "d"], Path("mels"), 0, run)
    assert len(found) == 4
    assert stored["a"] == "A"
    assert capsys.readouterr().err == "2 paths differ in case only from what is stored: a, b\n"
