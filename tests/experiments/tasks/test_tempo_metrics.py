"""Metrics of global tempo: the table of their definition, mir_eval, and constants on published annotations."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mir_eval.tempo import detection

from experiments.tasks.tempo_metrics import (
    FACTORS,
    correct,
    octave_errors,
    octave_shares,
    p_scores,
    per_item,
    same_number,
    with_one_reference,
)

GTZAN = Path(__file__).parents[4] / "shared/data/annotations/beat_sets_summary.csv"
tempi = st.floats(30, 300)


def test_the_table_of_their_definition():
    """Estimates over a reference of 100 BPM, and what Accuracy1 and Accuracy2 make of them."""
    table = {1.04: (1, 1), 1.0401: (0, 0), 2: (0, 1), 0.5: (0, 1), 3.1: (0, 1), 1 / 3: (0, 1), 1.5: (0, 0)}
    estimates, references = 100 * np.array(list(table)), np.full(len(table), 100.0)
    assert correct(estimates, references).tolist() == [one for one, _ in table.values()]
    assert correct(estimates, references, FACTORS).tolist() == [two for _, two in table.values()]


def test_the_tolerance_is_part_of_it():
    assert correct(np.array([104.0, 96.0, 104.1]), np.array([100.0] * 3)).tolist() == [True, True, False]
    assert correct(np.array([108.0, 108.1]), np.array([100.0] * 2), tolerance=0.08).tolist() == [True, False]


@given(tempi, tempi)
def test_accuracy1_is_a_flag_of_mir_eval(estimate, reference):
    if abs(abs(estimate - reference) / reference - 0.04) < 1e-9:
        return
    _, one_correct, _ = detection(np.array([reference, 0]), 1.0, np.array([estimate, 0]), tol=0.04)
    assert correct(np.array([estimate]), np.array([reference]))[0] == one_correct


def test_accuracy0_is_of_whole_numbers():
    assert same_number(np.array([120.4, 120.6, 121.0]), np.array([119.6, 120.4, 120.6])).tolist() == [True, False, True]


@given(tempi, tempi)
def test_octave_errors(estimate, reference):
    one = octave_errors(np.array([estimate]), np.array([reference]))[0]
    two = octave_errors(np.array([estimate]), np.array([reference]), FACTORS)[0]
    assert one == pytest.approx(np.log2(estimate / reference), abs=1e-12)
    assert abs(two) == pytest.approx(
        min(abs(np.log2(estimate / (factor * reference))) for factor in FACTORS), abs=1e-12
    )
    assert abs(two) <= abs(one) + 1e-12


@given(st.lists(st.tuples(tempi, tempi), min_size=1, max_size=20))
def test_shares_and_accuracies_belong_together(pairs):
    estimates, references = np.array(pairs).T
    shares, items = octave_shares(estimates, references), per_item(estimates, references)
    assert shares["1"] == pytest.approx(items["accuracy1"].mean())
    assert 1 - shares["other"] == pytest.approx(items["accuracy2"].mean())
    assert sum(shares.values()) == pytest.approx(1)  # no tempo is near two of the factors
    assert (items["accuracy1"] <= items["accuracy2"]).all()
    assert (items["accuracy1"] <= items["accuracy_8_percent"]).all()


def test_p_scores_are_those_of_mir_eval():
    references, weights = np.array([[60.0, 120.0], [90.0, 0.0]]), np.array([0.3, 1.0])
    assert p_scores(np.array([[121.0, 61.0], [181.0, 91.0]]), references, weights).tolist() == [1, 1]
    assert p_scores(np.array([[121.0, 240.0], [181.0, 45.0]]), references, weights).tolist() == [pytest.approx(0.7), 0]
    alone, certain = with_one_reference(np.array([100.0, 50.0]))
    assert (alone.tolist(), certain.tolist()) == ([[100, 0], [50, 0]], [1, 1])


def test_a_constant_on_gtzan():
    """Within a point of the published 12.2 and 15.4 %, which are of tempi from the mean interval, not the median."""
    if not GTZAN.exists():
        pytest.skip("the published annotations are not here")
    with GTZAN.open(encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["set"] == "gtzan" and row["tempo_from_median_interval"]]
    bpm = np.array([float(row["tempo_from_median_interval"]) for row in rows])
    inside = bpm[(bpm >= 40) & (bpm <= 250)]
    assert (len(bpm), len(inside)) == (999, 989)
    constant = np.full(len(inside), 120.0)
    assert correct(constant, inside).mean() == pytest.approx(0.122, abs=0.01)
    assert correct(constant, inside, FACTORS).mean() == pytest.approx(0.154, abs=0.01)
