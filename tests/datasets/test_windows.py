from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.windows import centred_padding, cut, exhaustive_windows, is_short, offset_range, pad_centred

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
    starts, (one,) = cut(np.ones((3, 2), np.float32), 6, 6, fill=-80.0)
    assert starts.tolist() == [0]
    assert one[:, 0].tolist() == [-80, 1, 1, 1, -80, -80]
    starts, windows = cut(np.ones(29, np.int16), 10, 10)
    assert starts.tolist() == [0, 10, 20]
    assert windows[2].tolist() == [1] * 9 + [0]
