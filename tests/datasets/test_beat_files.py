"""Files of beats: every kind is read, faults are put right or named, and what is written is read again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.beat_files import FoundBeats, beats_text, mended_notes, parse_beats, read_beats, write_beats
from datasets.beats import Beats, bar_positions
from datasets.tables import CorpusError


def parsed(text):
    return parse_beats(text.encode(), "song.beats")


def said(text):
    """Times, positions and what was mended."""
    found = parsed(text)
    positions = found.beats.positions
    return found.beats.times.tolist(), None if positions is None else positions.tolist(), dict(found.mended)


@pytest.mark.parametrize(
    ("text", "times", "positions"),
    [
        ("0.5\t1\n1.0\t2\n", [0.5, 1.0], [1, 2]),
        ("0.5 1\n1.0 2", [0.5, 1.0], [1, 2]),
        ("  0.5   1.0\r\n\t1.0\t2\r\n", [0.5, 1.0], [1, 2]),
        ("# time, position\n0.5 1 # first\n\n1 2\n", [0.5, 1.0], [1, 2]),
        ("\ufeff0.677\n1.935\n", [0.677, 1.935], None),
        ("0.5 0\n1.0 0\n", [0.5, 1.0], None),  # nothing is known of bars
        ("0.5 0\n1.0 1\n1.5\n", [0.5, 1.0, 1.5], [0, 1, 0]),
        ("0.5 -\n1.0 1\n", [0.5, 1.0], [0, 1]),
        ("0.0\t1\t1\n0.5\t2\t1\n1.0\t1\t2\n", [0.0, 0.5, 1.0], [1, 2, 1]),  # Harmonix
        ("0\t1\t1\n1\t2\t1\n2\t1\t2\n", [0.0, 1.0, 2.0], [1, 2, 1]),
        (
            "12\t13\t96\n62\t63\t144\n112\t113\t384\n162\t163\t48\n212\t213\t96\n262\t263\t144\n312\t313\t384\n370\t371\t-1",
            [0.12, 0.62, 1.12, 1.62, 2.12, 2.62, 3.12],
            [3, 4, 1, 2, 3, 4, 1],
        ),  # RWC
        (" 13.1\t1 \n 13.5   New Point\n13.9 3\n", [13.1, 13.5, 13.9], [1, 0, 3]),  # Isophonics
        (
            "0.5\t0.5\tb,,0\n1.0\t1.0\tdb,4/4\n1.5\t1.5\tb\n2.0\t2.0\tbR\n2.5\t2.5\tdb\n",
            [0.5, 1.0, 1.5, 2.0, 2.5],
            [3, 1, 2, 3, 1],
        ),  # ASAP
        ("", [], None),
        ("# nothing\n\n", [], None),
    ],
)
def test_every_kind_of_text_is_read(text, times, positions):
    assert said(text) == (times, positions, {})


def test_beats_are_put_in_order_each_once_and_none_before_the_start():
    times, positions, mended = said("1.0 2\n-0.2 4\n0.5 0\n0.5 1\n1.0 2\n1.5 3\n")
    assert (times, positions) == ([0.5, 1.0, 1.5], [1, 2, 3])
    assert mended == {"unordered": 1, "repeated": 2, "negative": 1}
    notes = mended_notes([FoundBeats(Beats(np.empty(0)), mended), parsed("2\n1\n")])
    assert notes[0] == "2 annotations of beats not in order of time"
    assert len(notes) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.5 1\n0,7 2\n", r"song.beats, line 2: '0,7' is no time in seconds"),
        ("0.5 1\nnan 2\n", r"line 2: 'nan' is no time"),
        ("1e999\n", r"line 1: '1e999' is no time"),
        ("0.5 1.5\n", r"line 1: '1.5' is no position in a bar"),
        ("0.5 -1\n", r"line 1: '-1' is no position"),
        ("0.5 1 1 4\n", r"line 1: '0.5 1 1 4'; expected a time in seconds"),
        ("verse 1\n", r"line 1: 'verse' is no time"),
        ("RIFF\0\0", "no text"),
        ("{", "JSON that cannot be read"),
        ('{"a": 1}', "JSON without annotations"),
        ('{"annotations": [{"namespace": "tempo", "data": []}]}', "JAMS without beat_position or beat; there is tempo"),
        ('{"annotations": [{"namespace": "beat", "data": [{"value": 1}]}]}', "beat 1: .* expected a time"),
        ('{"annotations": [{"namespace": [], "data": []}]}', "there is no annotation"),
        ('{"annotations": [{"namespace": "beat", "data": {"time": [1, 2], "value": [1]}}]}', "2 times and 1 values"),
        ("[[0.5, 1, 2]]", "beat 1: .* expected a time, or a time and a position"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text, reason):
    with pytest.raises(CorpusError, match=reason):
        parsed(text)


def test_bars_are_counted_after_beats_are_put_in_order():
    lines = ["100\t150\t384", "50\t100\t144", "100\t150\t48", "150\t200\t48", "200\t250\t384"]
    assert said("\n".join(lines)) == ([0.5, 1.0, 1.5, 2.0], [2, 1, 2, 1], {"unordered": 1, "repeated": 1})
    performed = "1.0\t1.0\tdb\n0.5\t0.5\tb\n1.0\t1.0\tb\n1.5\t1.5\tb\n2.0\t2.0\tdb\n"
    assert said(performed) == ([0.5, 1.0, 1.5, 2.0], [2, 1, 2, 1], {"unordered": 1, "repeated": 1})


def test_jams_is_read_with_and_without_positions():
    beat = {
        "namespace": "beat",
        "data": [{"time": t, "duration": 0.0, "value": v} for t, v in [(0.5, 4.0), (1.0, 1.0)]],
    }
    bars = {"namespace": "beat_position", "data": [{"time": 0.5, "value": {"position": 3, "measure": 1}}]}
    old = {"namespace": "beat", "data": {"time": [0.5, 1.0], "duration": [0, 0], "value": [None, None]}}
    assert said(json.dumps({"annotations": [beat]}))[:2] == ([0.5, 1.0], [4, 1])
    assert said(json.dumps({"annotations": [beat, bars]}))[:2] == ([0.5], [3])
    assert said(json.dumps({"annotations": [{"namespace": "chord"}, old]}))[:2] == ([0.5, 1.0], None)


def test_a_file_that_is_missing_or_huge_is_refused(tmp_path, monkeypatch):
    with pytest.raises(CorpusError, match="cannot be read"):
        read_beats(tmp_path / "gone.beats")
    monkeypatch.setattr("datasets.beat_files.LARGEST", 4)
    (tmp_path / "song.beats").write_text("0.123 1\n")
    with pytest.raises(CorpusError, match="no beats of one recording"):
        read_beats(tmp_path / "song.beats")


@given(
    st.lists(st.integers(0, 10**6), unique=True, max_size=30).map(sorted),
    st.floats(0, 9e-4),
    st.lists(st.integers(0, 12), min_size=30, max_size=30),
    st.booleans(),
)
def test_beats_survive_a_file(milliseconds, shift, positions, known):
    times = np.array(milliseconds) / 1000 + shift
    beats = Beats(times, np.array(positions[: len(times)]) if known and any(positions[: len(times)]) else None)
    again = parsed(beats_text(beats))
    assert not again.mended
    assert again.beats.times == pytest.approx(times, abs=0.6e-4)
    assert (again.beats.positions is None) == (beats.positions is None)
    if beats.positions is not None:
        assert again.beats.positions.tolist() == beats.positions.tolist()


def test_a_pick_up_survives_a_file(tmp_path):
    beats = Beats(np.array([0.25, 0.75, 1.25, 1.75]), np.array([3, 0, 1, 2]))
    write_beats(tmp_path / "song.beats", beats)
    assert (tmp_path / "song.beats").read_text() == "0.2500\t3\n0.7500\t0\n1.2500\t1\n1.7500\t2\n"
    assert read_beats(tmp_path / "song.beats").beats.positions.tolist() == [3, 0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["song.beats"]


@pytest.mark.parametrize(
    ("downbeats", "positions"),
    [
        ("..x...x.", [3, 4, 1, 2, 3, 4, 1, 2]),
        ("x..x", [1, 2, 3, 1]),
        ("....x.x", [0, 0, 0, 0, 1, 2, 1]),  # a pick-up longer than a bar
        ("..x..", [0, 0, 1, 2, 3]),
        ("...", [0, 0, 0]),
        ("", []),
    ],
)
def test_positions_are_counted_from_downbeats(downbeats, positions):
    assert bar_positions(np.array([one == "x" for one in downbeats], bool)).tolist() == positions
