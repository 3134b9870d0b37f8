from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.windows import (
    Plan,
    centred_padding,
    cut,
    exhaustive_windows,
    is_short,
    offset_range,
    pad_centred,
    spread_windows,
)

T = 1875


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (T // 2, 1),
        (int(0.89 * T), 1),
        (int(0.9 * T) + 1, 1),
        (T, 1),
        (int(1.5 * T), 1),
        (int(1.89 * T), 1),
        (int(1.9 * T) + 1, 2),
        (10 * T, 10),
        (int(10.95 * T), 11),
        (11 * T, 11),
    ],
)
def test_f13_number_of_windows_for_the_lengths_of_the_rule(rows: int, count: int) -> None:
    windows = exhaustive_windows(rows, T)
    assert [start for start, _ in windows] == [number * T for number in range(count)]


@given(st.integers(1, 5_000), st.integers(1, 60), st.integers(1, 4), st.integers(1, 300))
def test_windows_on_a_grid_reach_from_the_beginning_to_the_end_without_a_gap(rows, steps, pool, length):
    length = max(length, steps * pool)
    starts = Plan(length, steps * pool, align=pool).starts(rows)
    assert starts[0] == 0
    assert all(start % pool == 0 for start in starts)
    assert rows - length <= starts[-1] < max(rows, 1)
    assert all(0 <= later - earlier <= steps * pool for earlier, later in itertools.pairwise(starts))
    _, windows = cut(np.arange(1, rows + 1), Plan(length, steps * pool, align=pool))
    assert {len(window) for window in windows} == {length}
    assert windows[-1][: rows - starts[-1]].all()
    assert not windows[-1][rows - starts[-1] :].any()


def test_half_overlap_takes_every_start_that_still_has_nine_tenths() -> None:
    assert exhaustive_windows(250, 100, hop=50) == [(0, 100), (50, 100), (100, 100), (150, 100)]
    assert exhaustive_windows(240, 100, hop=50)[-1] == (150, 90)
    assert exhaustive_windows(239, 100, hop=50)[-1] == (100, 100)


@given(st.integers(1, 20_000), st.integers(1, 2_000), st.integers(1, 2_500))
def test_f13_windows_are_never_empty_never_outside_and_none_is_missing(rows: int, length: int, hop: int) -> None:
    windows = exhaustive_windows(rows, length, hop)
    assert windows[0] == (0, min(length, rows))
    for number, (start, held) in enumerate(windows):
        assert start == number * hop
        assert held == min(length, rows - start) >= 1
        assert is_short(rows, length) or 10 * held >= 9 * length
    assert 10 * (rows - len(windows) * hop) < 9 * length


def test_a_short_track_keeps_one_window() -> None:
    assert is_short(89, 100)
    assert not is_short(90, 100)
    assert exhaustive_windows(1, 100) == [(0, 1)]


@given(st.integers(1, 5_000), st.integers(1, 2_000))
def test_every_random_crop_is_inside_and_both_ends_can_be_drawn(rows: int, length: int) -> None:
    offsets = offset_range(rows, length)
    assert offsets[0] == 0
    assert offsets[-1] == max(rows - length, 0)


@given(st.integers(1, 50), st.integers(0, 20))
def test_padding_centres_the_rows_among_zeros(rows: int, missing: int) -> None:
    array = np.arange(1, 1 + 3 * rows, dtype=np.float16).reshape(rows, 3)
    before, after = centred_padding(rows, rows + missing)
    padded = pad_centred(array, rows + missing)
    assert before + after == missing
    assert 0 <= after - before <= 1
    assert padded.dtype == array.dtype
    assert np.array_equal(padded[before : before + rows], array)
    assert not padded[:before].any()
    assert not padded[before + rows :].any()


@pytest.mark.parametrize("arguments", [(0, 10), (10, 0), (10, 10, 0), (-3, 10)])
def test_numbers_below_one_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        exhaustive_windows(*arguments)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="11 rows do not fit into 10"):
        centred_padding(11, 10)


def test_what_lacks_a_little_or_much_is_centred_in_silence():
    starts, (one,) = cut(np.ones((3, 2), np.float32), Plan(6, 6), fill=-80.0)
    assert starts.tolist() == [0]
    assert one[:, 0].tolist() == [-80, 1, 1, 1, -80, -80]
    starts, windows = cut(np.ones(29, np.int16), Plan(10, 10))
    assert starts.tolist() == [0, 10, 20]
    assert windows[2].tolist() == [1] * 9 + [0]


@given(st.integers(1, 20_000), st.integers(1, 2_000), st.integers(2, 60))
def test_spread_windows_reach_from_the_beginning_to_the_end_evenly(rows: int, length: int, count: int) -> None:
    starts, room = spread_windows(rows, length, count), max(rows - length, 0)
    assert len(starts) == min(count, room + 1)
    assert starts == sorted(set(starts))
    assert all(0 <= start <= room for start in starts)
    if len(starts) > 1:
        assert (starts[0], starts[-1] + length) == (0, rows)
        gaps = len(starts) - 1
        assert all(2 * abs(start * gaps - number * room) <= gaps for number, start in enumerate(starts))
    if count * length >= rows:
        assert all(later - earlier <= length for earlier, later in itertools.pairwise(starts))


@given(st.integers(1, 20_000), st.integers(1, 2_000))
def test_as_few_windows_as_cover_a_track_are_spread(rows: int, length: int) -> None:
    starts = spread_windows(rows, length)
    if 10 * rows <= 11 * length:
        assert starts == [max(rows - length, 0) // 2]
    else:
        assert (len(starts) - 1) * length < rows - length / 10 <= len(starts) * length
        uncovered = rows - len(starts) * length
        gaps = [later - earlier - length for earlier, later in itertools.pairwise(starts)]
        assert sum(max(gap, 0) for gap in gaps) <= max(uncovered, 0) <= length / 10


@given(st.integers(1, 20_000), st.integers(1, 2_000), st.integers(1, 2_500))
def test_windows_at_a_distance_and_one_at_the_end(rows: int, length: int, hop: int) -> None:
    *regular, last = Plan(length, hop, to_end=True).starts(rows)
    assert regular == [number * hop for number in range(len(regular))]
    assert last == max(rows - length, 0)
    assert not regular or 0 < last - regular[-1] <= hop


def test_places_of_published_scores_and_of_a_single_window() -> None:
    assert spread_windows(480_000, 48_000, 8) == [round(i * (480_000 - 48_000) / 7) for i in range(8)]
    assert spread_windows(480_000, 464_000) == Plan(464_000, count=1).starts(480_000) == [8_000]
    assert len(Plan(59_049).starts(465_984)) == 8
    assert spread_windows(5, 10, 16) == spread_windows(10, 10, 16) == [0]


@pytest.mark.parametrize("arguments", [(0, 10), (10, 0), (10, 10, 0), (10, 10, -1)])
def test_numbers_of_spread_windows_below_one_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        spread_windows(*arguments)
