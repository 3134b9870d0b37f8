"""Tempo against a plain reference and, where it measures the same, mir_eval."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mir_eval.tempo import detection

from experiments.errors import UserError
from experiments.tasks import Tempo, TempoAnyOctave, TempoRegression
from experiments.tasks.tempo import FASTEST, SLOWEST
from experiments.tasks.tempo_metrics import FACTORS

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


@settings(max_examples=60, deadline=None)
@given(st.floats(40, 250))
def test_what_is_encoded_is_decoded(bpm):
    """Specification of global tempo, acceptance check 5."""
    classes = Tempo()
    probabilities = classes.smooth_labels(torch.tensor([bpm])).numpy()
    assert abs(classes.estimates(probabilities)[0] - bpm) <= 0.5 + 1e-4
    assert classes.estimate(probabilities[0]).tempo == pytest.approx(bpm, abs=5e-3)
    assert classes.estimate(classes.decode(np.log(probabilities + 1e-30))[0]).tempo == pytest.approx(bpm, abs=5e-3)
    standardised = (np.log2(VALUES.encode(bpm)) - VALUES.mean) / VALUES.scale
    assert VALUES.estimate(VALUES.decode(standardised[None])[0]).tempo == pytest.approx(bpm, rel=1e-5)


@pytest.mark.parametrize("task", [Tempo(), VALUES], ids=["classes", "values"])
def test_targets_move_with_the_speed_of_a_crop(task):
    targets = task.targets(["100", 240.0])
    assert targets.crop(0, 0, 10, 1.25)["target"] == 125
    assert targets.whole(0) == 100
    rates = [targets.draw_rate(1, 0.8, 1.25, np.random.default_rng(seed)) for seed in range(50)]
    assert max(rates) * 240 <= FASTEST + 1e-6
    assert len(task.targets([])) == 0


def test_a_range_is_kept_to_and_one_without_tempi_is_refused():
    task = Tempo()
    probabilities = task.smooth_labels(torch.tensor([160.0]))[0].numpy()
    assert task.estimate(probabilities, high=100).tempo <= 100
    assert VALUES.estimate(np.array([160.0]), high=100).tempo == 80
    for one in (task, VALUES):
        for low, high in ((120, 60), (300, 400), (100.2, 100.8)):
            with pytest.raises(UserError, match=f"{one.name}: no tempo between {low:g} and {high:g} BPM; give min_bpm"):
                one.estimate(np.full(one.n_outputs, 1 / 256), low=low, high=high)


def test_further_metrics_are_of_the_tempi_between_the_classes():
    task, references = Tempo(), np.array([100.4, 61.0, 170.0])
    predictions = task.smooth_labels(torch.tensor([100.6, 122.0, 85.0])).numpy()
    found = task.score_further(predictions, references)
    assert found["accuracy0"] == 0  # 101, where the most probable class would be 101 too
    assert found["accuracy_8_percent"] == pytest.approx(1 / 3)
    assert found["oe1"] == pytest.approx(np.log2(100.6 / 100.4) / 3, abs=1e-3)
    assert found["oe1_abs"] == pytest.approx((2 + np.log2(100.6 / 100.4)) / 3, abs=1e-3)
    assert found["oe2_abs"] == pytest.approx(np.log2(100.6 / 100.4) / 3, abs=1e-3)
    assert found["p_score"] == pytest.approx(1)  # the second tempo of the other two is the reference
    assert set(found) == set(VALUES.score_further(np.array([[100.0]]), np.array([100.0])))


@settings(max_examples=30, deadline=None)
@given(st.floats(61, 140), st.sampled_from([1.0, 0.5, 2.0]))
def test_any_octave_is_as_good(bpm, factor):
    task, target = TempoAnyOctave(), torch.tensor([bpm])
    logits = torch.log(task.smooth_labels(factor * target) + 1e-9)
    assert task.loss(logits, target) == pytest.approx(float(Tempo().loss(logits, factor * target)), abs=1e-4)
    assert float(Tempo().loss(logits, target)) >= float(task.loss(logits, target)) - 1e-5
    assert task.loss(torch.log(task.smooth_labels(1.5 * target) + 1e-9), target) > 5


def test_an_octave_beyond_the_classes_is_not_another_tempo():
    task = TempoAnyOctave()
    slow = torch.log(task.smooth_labels(torch.tensor([30.0])) + 1e-9)
    assert task.loss(slow, torch.tensor([50.0])) > 5  # 25 BPM is no class, and not the slowest one
    assert task.loss(slow, task.smooth_labels(torch.tensor([50.0]))) > 5
