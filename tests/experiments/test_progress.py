"""Progress where there is no terminal: a line a minute with the time left."""

from __future__ import annotations

from itertools import count

from experiments.progress import progress


def test_a_log_gets_a_line_a_minute(capfd, monkeypatch):
    seconds = count(0, 25)
    monkeypatch.setattr("experiments.progress.time.monotonic", lambda: next(seconds))
    with progress("extracting", 8, "tracks") as advance:
        for _ in range(8):
            advance()
    assert capfd.readouterr().err.splitlines() == [
        "extracting: 3 of 8 tracks, 0:02:05 left",
        "extracting: 6 of 8 tracks, 0:00:50 left",
    ]


def test_what_is_done_in_less_says_nothing(capfd):
    with progress("extracting", 2, "tracks") as advance:
        advance()
    assert capfd.readouterr().err == ""
