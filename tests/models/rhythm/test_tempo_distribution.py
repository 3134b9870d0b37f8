"""From probabilities of tempi to tempo, second tempo and confidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rhythm.tempo_distribution import (
    TOLERANCE,
    between_classes,
    estimate,
    estimate_of_values,
    fold,
    octave_of,
)

SLOWEST = 30
TEMPI = SLOWEST + np.arange(256)


def bell(*peaks: tuple[float, float], width: float = 1.0) -> np.ndarray:
    """Bells of (tempo, height), summing to 1."""
    curve = sum(height * np.exp(-0.5 * ((TEMPI - tempo) / width) ** 2) for tempo, height in peaks)
    return curve / curve.sum()


@given(st.floats(31, 284), st.floats(0.5, 3))
def test_a_bell_is_found_exactly(tempo, width):
    assert estimate(bell((tempo, 1), width=width), SLOWEST).tempo == pytest.approx(tempo, abs=1e-3)


@given(st.integers(0, 2**31), st.integers(1, 8))
def test_a_peak_stays_within_half_a_class(seed, items):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(20), items)
    peaks = probabilities.argmax(1)
    places = between_classes(probabilities, peaks)
    assert (np.abs(places - peaks) <= 0.5).all()
    for place, peak, row in zip(places, peaks, probabilities, strict=True):
        if 0 < peak < 19 and row[peak - 1] != row[peak + 1]:
            assert (place - peak) * (row[peak + 1] - row[peak - 1]) >= 0


def test_what_is_no_tempo_is_not_folded():
    assert fold(0.0, 40, 200) == 0
    assert fold(np.inf, 40, 200) == np.inf
    assert np.isnan(fold(np.nan, 40, 200))


@pytest.mark.parametrize(("low", "high", "said"), [(400, None, "between 400 and inf"), (None, 20, "between 0 and 20")])
def test_a_range_without_any_class_is_named(low, high, said):
    with pytest.raises(ValueError, match=f"no tempo {said} BPM; those known are 30 to 285"):
        estimate(bell((120, 1)), SLOWEST, low, high)


def test_zeros_beside_a_peak_leave_it_where_it_is():
    one_hot = np.zeros((3, 256))
    one_hot[[0, 1, 2], [0, 97, 255]] = 1
    assert between_classes(one_hot, one_hot.argmax(1)).tolist() == [0, 97, 255]
    assert between_classes(np.full((1, 5), 0.2), np.array([2])).tolist() == [2]


def test_the_second_peak_is_not_the_shoulder_of_the_first():
    found = estimate(bell((140, 0.6), (143, 0.5), (70, 0.3)), SLOWEST)
    assert found.tempo == pytest.approx(140.4, abs=0.6)
    assert found.second == pytest.approx(70, abs=0.01)
    assert 0.5 < found.salience < 1


def test_salience_is_the_share_of_the_heights():
    assert estimate(bell((140, 0.6), (70, 0.2)), SLOWEST).salience == pytest.approx(0.75)


@pytest.mark.parametrize(("tempo", "second"), [(150.0, 75.0), (90.0, 180.0), (120.0, 240.0)])
def test_with_one_peak_the_second_is_an_octave_away(tempo, second):
    found = estimate(bell((tempo, 1)), SLOWEST)
    assert (found.salience, found.second) == (1.0, pytest.approx(second, abs=1e-3))


@given(st.floats(35, 250), st.floats(0.4, 20))
def test_confidence_is_the_mass_within_four_per_cent(tempo, width):
    curve = bell((tempo, 1), width=width)
    found = estimate(curve, SLOWEST)
    expected = curve[np.abs(TEMPI - found.tempo) <= max(TOLERANCE * found.tempo, 0.5)].sum()
    assert found.confidence == pytest.approx(expected)
    assert 0 < found.confidence <= 1


@given(st.floats(31, 150), st.floats(1.5, 3), st.integers(0, 2**31))
def test_no_estimate_leaves_the_range(low, factor, seed):
    curve = np.random.default_rng(seed).dirichlet(np.full(256, 0.1))
    high = min(low * factor, 284)
    found = estimate(curve, SLOWEST, low, high)
    assert low <= found.tempo <= high
    assert low <= found.second <= high or found.second in (2 * found.tempo, found.tempo / 2)


def test_classes_outside_of_the_range_do_not_count():
    curve = bell((140, 0.6), (70, 0.4))
    found = estimate(curve, SLOWEST, high=100)
    assert found.tempo == pytest.approx(70, abs=1e-3)
    assert found.confidence == pytest.approx(1, abs=0.02)
    assert estimate(np.eye(256)[200], SLOWEST, high=100).tempo == SLOWEST  # nothing there: the first that is allowed
    with pytest.raises(ValueError, match="no tempo between 290 and 300 BPM"):
        estimate(curve, SLOWEST, 290, 300)


@given(st.floats(5, 2000), st.floats(20, 200), st.floats(2, 5))
def test_folding_by_octaves_ends_in_the_range(tempo, low, factor):
    folded = fold(tempo, low, factor * low)
    assert low <= folded <= factor * low
    assert np.log2(folded / tempo) == pytest.approx(round(np.log2(folded / tempo)), abs=1e-9)


@given(st.floats(5, 2000), st.floats(20, 200), st.floats(1, 2))
def test_a_range_below_an_octave_is_kept_to(tempo, low, factor):
    assert low <= fold(tempo, low, factor * low) <= factor * low


def test_octaves_keep_to_the_range():
    assert octave_of(150) == 75
    assert octave_of(150, low=100) == 300
    assert octave_of(90, high=150) == 45


def test_of_values_the_confidence_is_the_share_of_windows_that_agree():
    found = estimate_of_values(100.0, np.array([100.0, 103.9, 104.1, 200.0]))
    assert (found.tempo, found.second, found.salience, found.confidence) == (100.0, 200.0, None, 0.5)
    assert estimate_of_values(100.0, np.array([100.0, 50.0]), low=90).confidence == 1
    assert estimate_of_values(100.0, np.array([100.0])).confidence is None
