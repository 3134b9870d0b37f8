"""Tempo against a plain reference and, where it measures the same, mir_eval."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mir_eval.tempo import detection

from experiments.errors import UserError
from experiments.tasks import Tempo, TempoRegression
from experiments.tasks.tempo import FACTORS, FASTEST, SLOWEST, correct

VALUES = TempoRegression([7.0], [0.5])


def near(estimate: float, reference: float) -> bool:
    return abs(estimate - reference) / reference <= 0.04


@settings(max_examples=60, deadline=None)
@given(reference=st.floats(35, 250), factor=st.sampled_from([1, 2, 3, 0.5, 1 / 3, 1.5, 4]), off=st.floats(-0.06, 0.06))
def test_accuracies_are_those_of_a_plain_reference(reference, factor, off):
    estimate = reference * factor * (1 + off)
    if any(abs(abs(estimate - one * reference) / (one * reference) - 0.04) < 1e-9 for one in FACTORS):
        return
    found = VALUES.score(np.array([[estimate]]), np.array([reference]))
    assert found["accuracy1"] == near(estimate, reference)
    assert found["accuracy2"] == any(near(estimate, one * reference) for one in (1, 2, 3, 1 / 2, 1 / 3))
    _, one_correct, _ = detection(np.array([reference, reference]), 0.5, np.array([estimate, estimate]), tol=0.04)
    assert found["accuracy1"] == one_correct


def test_the_tolerance_is_part_of_it():
    assert correct(np.array([104.0, 96.0, 104.1]), np.array([100.0] * 3)).tolist() == [True, True, False]


def test_classes_are_whole_tempi_and_the_first_of_equal_ones_counts():
    task = Tempo()
    assert (task.classes[0], task.classes[-1], task.n_outputs) == ("30 BPM", "285 BPM", 256)
    logits = np.zeros((2, 256), np.float32)
    logits[1, [90, 95]] = 5
    assert task.estimates(task.decode(logits)).tolist() == [30, 120]


@settings(max_examples=30, deadline=None)
@given(st.floats(1, 400))
def test_targets_are_widened_around_the_tempo(bpm):
    widened = Tempo().smooth_labels(torch.tensor([bpm]))[0]
    assert float(widened.sum()) == pytest.approx(1, abs=1e-5)
    assert abs(int(widened.argmax()) + SLOWEST - min(max(bpm, SLOWEST), FASTEST)) <= 0.5 + 1e-4


def test_regression_is_of_the_logarithm():
    assert VALUES.decode(np.array([[0.0], [2.0], [-2.0]]))[:, 0].tolist() == [128, 256, 64]
    targets = torch.tensor([128.0, 256.0])
    assert float(VALUES.loss(torch.tensor([[0.0], [2.0]]), targets)) == pytest.approx(0, abs=1e-9)
    assert np.isfinite(VALUES.decode(np.array([[1e9], [-1e9]]))).all()
    measured = TempoRegression.measured([64.0, 256.0, 0.0])
    assert measured == {"mean": [7.0], "scale": [1.0]}


def test_ranges_in_the_order_of_tempi():
    references = np.array([119.0, 95.0, 125.0, 101.0])
    rows = VALUES.score_per_class(references[:, None] * [[1], [2], [1], [1.5]], references)
    assert list(rows) == ["80-100 BPM", "100-120 BPM", "120-140 BPM"]
    assert rows["80-100 BPM"] == {"accuracy1": 0.0, "accuracy2": 1.0, "n_positive": 1.0}
    assert rows["100-120 BPM"] == {"accuracy1": 0.5, "accuracy2": 0.5, "n_positive": 2.0}


@pytest.mark.parametrize("annotation", ["fast", None, 0, -90, np.nan, np.inf, [90]])
@pytest.mark.parametrize("task", [Tempo(), VALUES], ids=["classes", "values"])
def test_what_is_no_tempo_is_named(task, annotation):
    with pytest.raises(UserError, match=f"^{task.name}: .* leave the cell empty"):
        task.encode(annotation)
    assert float(task.encode("92.5")) == 92.5


def test_a_reference_of_zero_is_refused():
    with pytest.raises(UserError, match="a reference of 0 BPM"):
        VALUES.score(np.array([[100.0]]), np.array([0.0]))


@pytest.mark.parametrize("bpm", [12_800, 1001, 9.5, 0.5])
@pytest.mark.parametrize("task", [Tempo(), VALUES], ids=["classes", "values"])
def test_what_can_be_no_tempo_is_refused(task, bpm):
    meant = r" \(is 128 BPM meant\?\)" if bpm == 12_800 else ""
    with pytest.raises(UserError, match=rf"{bpm:g} BPM is no tempo, which is 10 to 1000 BPM{meant}; leave"):
        task.encode(bpm)


def test_what_is_hardly_a_tempo_is_doubted():
    assert Tempo.implausible([120.0, 12.0, 285.0, 400.0]) == {"a tempo outside of 30 to 285 BPM": [1, 3]}
    assert TempoRegression.implausible([30.0, 120.0]) == {}
