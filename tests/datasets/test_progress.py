"""Progress: a bar with the time left on a terminal, a line a minute elsewhere."""

from __future__ import annotations

from itertools import count

import pytest

from datasets.progress import progress


@pytest.fixture
def clock(monkeypatch):
    """The seconds that a job believes have passed, in a list of one."""
    now = [0.0]
    monkeypatch.setattr("datasets.progress.time.monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_a_minute(capfd, clock):
    with progress("extracting", 8, "tracks") as advance:
        for _ in range(8):
            clock[0] += 25
            advance()
    assert capfd.readouterr().err.splitlines() == [
        "extracting: 3 of 8 tracks, 0:02:05 left",
        "extracting: 6 of 8 tracks, 0:00:50 left",
    ]


def test_a_slow_first_step_says_nothing_of_the_others(capfd, clock):
    with progress("extracting", 100, "tracks") as advance:
        for seconds in (61, *[1] * 99):
            clock[0] += seconds
            advance()
    assert capfd.readouterr().err.splitlines() == [
        "extracting: 1 of 100 tracks",
        "extracting: 61 of 100 tracks, 0:00:39 left",
    ]


def test_what_is_done_in_less_says_nothing(capfd):
    with progress("extracting", 2, "tracks") as advance:
        advance()
    assert capfd.readouterr().err == ""


def test_the_time_left_follows_the_weights(capfd, clock):
    with progress("reading", 4, "files", weight=110) as advance:
        for steps, weight in ((1, 10), (1, 80), (2, 20)):
            clock[0] += 60
            advance(steps, weight)
    assert capfd.readouterr().err.splitlines() == [
        "reading: 1 of 4 files",
        "reading: 2 of 4 files, 0:00:15 left",
        "reading: 4 of 4 files, 0:00:00 left",
    ]


def test_a_number_that_nobody_knows_is_counted_all_the_same(capfd, monkeypatch):
    seconds = count(0, 60)
    monkeypatch.setattr("datasets.progress.time.monotonic", lambda: next(seconds))
    with progress("unpacking", None, "files") as advance:
        advance()
    assert capfd.readouterr().err == "unpacking: 1 files\n"


def test_a_terminal_gets_a_bar(capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("extracting [a]", 2, "tracks") as advance:
        advance()
        advance()
    shown = capfd.readouterr().err
    assert "extracting [a]" in shown
    assert "2 of 2 tracks" in shown
    assert "left" in shown


def test_a_job_that_is_not_to_be_shown_or_has_no_step(capfd, monkeypatch):
    monkeypatch.setattr("datasets.progress.LINE_SECONDS", 0.0)
    with progress("extracting", 1, "tracks", show=False) as advance:
        advance()
    with progress("extracting", 0, "tracks"):
        pass
    assert capfd.readouterr().err == ""
