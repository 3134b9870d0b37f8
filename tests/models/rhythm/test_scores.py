"""Metrics of one recording, against figures of two libraries that were compared by hand."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mir_eval import beat

from models.rhythm import scores

PUBLISHED = Path(__file__).parents[4] / "shared/data/fixtures/mir_eval/beat"
REFERENCE = np.arange(0, 60, 0.5)
GOLDEN = {
    "identical": (REFERENCE, (1.000, 1, 1, 1, 1)),
    "60 ms late": (REFERENCE + 0.06, (1.000, 1, 1, 1, 1)),
    "70 ms late": (REFERENCE + 0.07, (1.000, 1, 1, 1, 1)),
    "80 ms late": (REFERENCE + 0.08, (0.000, 1, 1, 1, 1)),
    "100 ms late": (REFERENCE + 0.1, (0, 0, 0, 0, 0)),
    "off-beat": (REFERENCE + 0.25, (0, 0, 0, 0.991, 0.991)),
    "double": (np.arange(239) / 4, (0.669, 0, 0, 1, 1)),
    "half": (REFERENCE[::2], (0.667, 0, 0, 1, 1)),
    "triple": (np.arange(358) / 6, (0.502, 0, 0, 0, 0)),
    "third": (REFERENCE[::3], (0.493, 0, 0, 0, 0)),
}


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="mir_eval")
        yield


@pytest.mark.parametrize("name", list(GOLDEN))
def test_golden_values(name):
    estimate, expected = GOLDEN[name]
    found = scores.agreement(scores.trimmed(REFERENCE, 60.0), scores.trimmed(estimate, 60.0))
    assert [round(found[metric], 3) for metric in scores.METRICS[:5]] == list(expected)


def test_golden_values_of_a_short_sequence():
    found = scores.agreement(np.arange(1.0, 11), np.array([1.01, 2, 2.95, 4, 6, 7, 8, 9.1, 10, 11]))
    assert found["cemgil"] == pytest.approx(0.74710035, abs=1e-8)
    assert [found[metric] for metric in scores.METRICS[:5]] == pytest.approx([0.8, 0.4, 0.8, 0.4, 0.8])


@given(seed=st.integers(0, 2**31), counts=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_cemgils_accuracy_is_that_of_mir_eval(seed, counts):
    rng = np.random.default_rng(seed)
    reference, estimate = (np.unique(rng.uniform(0, 10, count)) for count in counts)
    expected, _ = beat.cemgil(reference, estimate)
    assert scores._cemgil(reference, estimate) == pytest.approx(expected)


def test_a_constant_delay_is_told_even_where_the_f_measure_is_zero():
    assert scores.agreement(REFERENCE, REFERENCE + 0.08)["error"] == pytest.approx(0.08)
    assert scores.agreement(REFERENCE[1:], REFERENCE[1:] - 0.03)["error"] == pytest.approx(-0.03)
    assert math.isnan(scores.agreement(REFERENCE[:3], REFERENCE[80:])["error"])


@pytest.mark.parametrize("estimate", [[], [1.0], [0.0], [1.0, 1.5]])
@pytest.mark.parametrize("reference", [[1.0], [0.0], [1.0, 1.5]])
def test_few_beats_are_scored_without_a_complaint(estimate, reference):
    found = scores.agreement(np.array(reference), np.array(estimate))
    assert set(found) == {*scores.METRICS, "error"}
    common = len(set(estimate) & set(reference))
    assert found["f1"] == pytest.approx(2 * common / (len(estimate) + len(reference)))


def test_a_day_of_music_is_scored_as_a_minute_is():
    late = 86_000.0
    estimate = np.sort(REFERENCE[:100] + np.random.default_rng(0).normal(0, 0.03, 100))
    near, far = scores.agreement(REFERENCE, estimate), scores.agreement(REFERENCE + late, estimate + late)
    assert near == pytest.approx(far, abs=1e-6)


def test_five_seconds_do_not_count_unless_there_is_no_more():
    assert scores.trimmed(np.array([4.99, 5.0, 6.0]), 30.0).tolist() == [5.0, 6.0]
    assert scores.trimmed(np.array([1.0, 4.0]), 5.0).tolist() == [1.0, 4.0]


def test_coherence_of_an_estimate():
    times = np.cumsum([0.0, 0.5, 0.5, 0.25, 0.25, 0.5, 0.52, 0.5])
    assert scores.tempo_jumps(times) == 2
    assert scores.tempo_jumps(times[:2]) == 0
    assert scores.repeated_downbeats(np.array([1, 1, 2, 1, 0, 1, 1, 1])) == 3
    assert scores.repeated_downbeats(np.array([], int)) == 0


@pytest.mark.parametrize("number", range(5))
def test_values_that_mir_eval_publishes(number):
    if not PUBLISHED.is_dir():
        pytest.skip("mir_eval's own test data are not part of the project")
    times = [np.loadtxt(PUBLISHED / f"{kind}0{number}.txt")[:, None][:, 0] for kind in ("ref", "est")]
    expected = json.loads((PUBLISHED / f"output0{number}.json").read_text())
    found = scores.agreement(*(one[one >= 5] for one in times))
    names = {
        "f1": "F-measure",
        "cmlc": "Correct Metric Level Continuous",
        "cmlt": "Correct Metric Level Total",
        "amlc": "Any Metric Level Continuous",
        "amlt": "Any Metric Level Total",
        "cemgil": "Cemgil",
    }
    for ours, theirs in names.items():
        assert found[ours] == pytest.approx(expected[theirs], abs=1e-9)
