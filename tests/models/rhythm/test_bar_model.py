"""Tempi and transitions of the bar-pointer model, by the figures of its publications."""

from __future__ import annotations

import numpy as np
import pytest

from models.rhythm.bar_model import bar_model, intervals_between, transition_probabilities

RANGE = {"min_bpm": 55.0, "max_bpm": 215.0}


def test_every_interval_of_the_range():
    assert intervals_between(100, 55, 215).tolist() == list(range(28, 110))


def test_sixty_tempi_are_equally_spaced_on_a_logarithmic_axis():
    gaps = [58, 59, 60, 61, 63, 64, 65, 67, 68, 70, 71, 73, 74, 76, 78, 79, 81, 83, 84, 86, 88]
    expected = [*range(28, 57), *gaps, *range(90, 101, 2), 102, 105, 107, 109]
    assert intervals_between(100, 55, 215, 60).tolist() == sorted({*expected})
    assert len(intervals_between(100, 55, 215, 60)) == 60


@pytest.mark.parametrize(
    ("rate", "intervals", "states", "transitions", "three", "four"),
    [
        (100, 82, 5617, 8934, (11157, 16236), (14876, 21648)),
        (86.1328125, 71, 4189, 6655, (9957, 15141), (13276, 20188)),
        (62.5, 52, 2210, 3500, (6630, 10500), (8840, 14000)),
        (50, 42, 1449, 2287, (4347, 6861), (5796, 9148)),
        (15.625, 14, 147, 223, (441, 669), (588, 892)),
    ],
)
def test_numbers_of_states_and_transitions(rate, intervals, states, transitions, three, four):
    model = bar_model(rate, 1, n_tempi=None, **RANGE)
    assert (len(model.intervals), model.states, model.transitions) == (intervals, states, transitions)
    for beats, expected in ((3, three), (4, four)):
        model = bar_model(rate, beats, **RANGE)
        assert (model.states, model.transitions) == expected


def test_four_intervals_of_one_to_four_frames():
    with np.errstate(divide="ignore"):
        logs = np.log(transition_probabilities(np.arange(1, 5), 100.0))
    possible = {(i + 1, j + 1): logs[i, j] for i, j in np.argwhere(np.isfinite(logs))}
    changes = {pair: value for pair, value in possible.items() if pair[0] != pair[1]}
    assert changes == pytest.approx({(3, 2): -100 / 3, (4, 3): -25, (3, 4): -100 / 3}, abs=1e-6)
    assert sum(range(1, 5)) - 4 + len(possible) == 13


def test_the_beat_is_heard_in_the_first_sixteenth():
    model = bar_model(100, 1, n_tempi=None, **RANGE)
    widths = dict(zip(model.intervals.tolist(), model.widths.tolist(), strict=True))
    assert [widths[i] for i in (28, 32, 33, 48, 109)] == [2, 2, 3, 3, 7]


def test_a_constant_tempo_and_one_that_changes_at_bar_lines_only():
    constant = bar_model(50, 4, transition_lambda=None, **RANGE)
    assert constant.transitions == constant.states
    at_lines = bar_model(50, 4, transition_lambda=(100.0, None), **RANGE)
    changing = [int(np.isfinite(table).sum()) - len(at_lines.intervals) for table in at_lines.log_transitions]
    assert changing[0] > 0
    assert changing[1:] == [0, 0, 0]


def test_equal_arguments_give_the_same_tables():
    assert bar_model(50, 4, transition_lambda=[100.0, None]) is bar_model(50, 4, transition_lambda=(100.0, None))


def test_a_tempo_that_is_too_fast_for_the_frames_is_refused_with_the_limit():
    with pytest.raises(ValueError, match="expected at most 120 BPM"):
        bar_model(4, 4)
