"""Statistics of tempi and beats: by genre, by metre, and what is irregular."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.beats import Beats
from datasets.rhythm_audit import AnnotatedTempo, bar_lengths, beat_row, beyond, is_irregular, metres, tempo_rows


def pulse(positions, interval=0.5) -> Beats:
    return Beats(np.arange(len(positions)) * interval, np.array(positions))


def test_every_genre_and_all_of_them():
    tempi = [
        AnnotatedTempo("a", "jazz", 100.0, "train"),
        AnnotatedTempo("b", "jazz", 300.0, ""),
        AnnotatedTempo("c", "blues", 250.0, "valid"),
    ]
    blues, jazz, everything = tempo_rows(tempi, 40, 250)
    assert (blues.genre, blues.tracks, blues.std, blues.in_range, blues.usable) == ("blues", 1, 0.0, 1, 1)
    assert (jazz.mean, jazz.std, jazz.low, jazz.high, jazz.in_range, jazz.usable) == (200, 100, 100, 300, 1, 1)
    assert (everything.genre, everything.tracks, everything.median, everything.usable) == ("all", 3, 250, 2)


def test_without_genres_there_is_one_row():
    (row,) = tempo_rows([AnnotatedTempo("a", "", 100.0, "train"), AnnotatedTempo("b", "", 120.0, "test")], 40, 250)
    assert (row.genre, row.mean) == ("all", 110)


def test_bars_are_counted_from_downbeat_to_downbeat():
    row = beat_row("x", "train", pulse([3, 4, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 1]))
    assert bar_lengths(pulse([3, 4, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 1])).tolist() == [4, 3, 4]
    assert row.metre == 4
    assert row.irregular == pytest.approx(1 / 3)
    assert is_irregular(row)
    assert row.tempo == 120
    assert row.downbeats == 4


def test_of_bars_equally_common_the_shortest_is_the_metre():
    assert beat_row("x", "train", pulse([1, 2, 3, 4, 1, 2, 3, 1])).metre == 3


def test_one_other_bar_of_twenty_is_not_irregular():
    assert not is_irregular(beat_row("x", "train", pulse([*[1, 2, 3, 4] * 19, 1, 2, 3, 1])))


@pytest.mark.parametrize(
    "beats", [Beats([]), Beats([1.0]), Beats([], []), Beats([0.5], [1]), Beats([0.5, 1.0], [0, 0])]
)
def test_without_a_whole_bar_there_is_no_metre(beats):
    row = beat_row("x", "train", beats)
    assert row.metre is row.irregular is None
    assert not is_irregular(row)
    assert metres([row]) == {}


def test_without_downbeats_nothing_is_known_of_bars():
    row = beat_row("x", "train", Beats([0.0, 0.5, 1.0]))
    assert row.downbeats is None
    assert (row.tempo, row.metre) == (120, None)


def test_a_tempo_on_the_border_is_inside():
    rows = [beat_row(str(bpm), "train", pulse([1, 2, 1, 2], 60 / bpm)) for bpm in (30, 40, 120, 240)]
    assert [row.track for row in beyond(rows, 40, 120)] == ["30", "240"]
    assert beyond([beat_row("none", "train", Beats([]))], 40, 120) == []


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(0, 5))
def test_the_bars_of_any_piece_come_back(lengths, pick_up):
    positions = [*([0] * pick_up), *(place for length in lengths for place in range(1, length + 1)), 1]
    beats = pulse(positions)
    assert bar_lengths(beats).tolist() == lengths
    row = beat_row("x", "train", beats)
    assert lengths.count(row.metre) == max(map(lengths.count, lengths))
    assert row.irregular == pytest.approx(1 - lengths.count(row.metre) / len(lengths))
