"""Emotion and what tasks about values share, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score, root_mean_squared_error

from experiments.errors import UserError
from experiments.tasks import Emotion
from models.metrics import r2, r2_of_many

TASK = Emotion([4.7561, 4.9739], [1.3860, 1.2546])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 40), levels=st.sampled_from([1, 2, 9, 10**6]))
def test_scores_are_those_of_scikit_learn_also_where_all_references_are_equal(seed, n, levels):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, levels, (n, 2)).astype(np.float32)
    answers = np.where(rng.random() < 0.3, targets, rng.integers(0, 10, (n, 2))).astype(np.float32)
    each = r2_score(targets.astype(float), answers.astype(float), multioutput="raw_values")
    found = TASK.score(answers, targets)
    assert found == pytest.approx(
        {"r2": each.mean(), "r2_arousal": each[0], "r2_valence": each[1], "n_items": float(n)}, rel=1e-9, abs=1e-9
    )
    assert r2(answers.astype(float), targets.astype(float)) == pytest.approx(each, rel=1e-9, abs=1e-9)
    many = r2_of_many(torch.from_numpy(answers)[None], torch.from_numpy(targets))[0]
    assert many.tolist() == pytest.approx(each.tolist(), rel=1e-9, abs=1e-9)
    per_class = TASK.score_per_class(answers, targets)
    for at, name in enumerate(("arousal", "valence")):
        error = root_mean_squared_error(targets[:, at].astype(float), answers[:, at].astype(float))
        assert per_class[name]["rmse"] == pytest.approx(error)
        if np.ptp(targets[:, at]) and np.ptp(answers[:, at]):
            expected = np.corrcoef(targets[:, at], answers[:, at])[0, 1]
            assert per_class[name]["correlation"] == pytest.approx(expected, abs=1e-9)


def test_outputs_are_standardised_and_answers_are_not():
    outputs = torch.tensor([[0.0, 0.0], [1.0, -2.0]])
    np.testing.assert_allclose(TASK.decode(outputs), [[4.7561, 4.9739], [6.1421, 2.4647]], rtol=1e-5)
    targets = torch.from_numpy(TASK.decode(outputs))
    assert float(TASK.loss(outputs, targets)) == pytest.approx(0, abs=1e-9)
    assert float(TASK.loss(outputs + 1, targets)) == pytest.approx(1, rel=1e-5)


def test_constants_are_mean_and_population_deviation():
    pairs = np.random.default_rng(0).normal(size=(50, 2)) * [1, 3] + [5, 4]
    made = Emotion(**Emotion.measured([tuple(pair) for pair in pairs]))
    np.testing.assert_allclose(made.mean, pairs.mean(0), rtol=1e-6)
    np.testing.assert_allclose(made.scale, pairs.std(0), rtol=1e-6)
    assert Emotion.measured([(3.0, 1.0), (3.0, 2.0), (np.nan, 9.0)]) == {"mean": [3.0, 1.5], "scale": [1.0, 0.5]}
    assert Emotion.measured([]) == {"mean": [0.0, 0.0], "scale": [1.0, 1.0]}


@pytest.mark.parametrize("annotation", [3.0, "34", (1.0,), (1.0, 2.0, 3.0), (1.0, "loud"), (1.0, None), (np.inf, 1.0)])
def test_what_is_no_pair_of_numbers_is_named(annotation):
    with pytest.raises(UserError, match="emotion: "):
        TASK.encode(annotation)
    assert TASK.encode((3, "2.5")).tolist() == [3.0, 2.5]


@pytest.mark.parametrize(("mean", "scale"), [([1], [1, 2]), ([1, 2], [1, 0]), ([1, np.nan], [1, 1]), ([1, 2], [1, -1])])
def test_constants_that_cannot_be_are_named(mean, scale):
    with pytest.raises(UserError, match="expected 2 finite numbers each"):
        Emotion(mean, scale)


def test_one_item_has_no_coefficient():
    with pytest.raises(UserError, match="R² of 1 item is not defined"):
        TASK.score(np.zeros((1, 2)), np.zeros((1, 2)))


def ratings(low: float, high: float, n: int = 60) -> list[tuple[float, float]]:
    return [tuple(pair) for pair in np.random.default_rng(0).uniform(low, high, (n, 2)).tolist()]


@pytest.mark.parametrize(("low", "high"), [(1, 9), (-1, 1), (0, 1), (1, 5), (0, 100), (-100, 100), (-3, 3)])
def test_ratings_on_one_scale_are_believed(low, high):
    assert Emotion.implausible(ratings(low, high)) == {}
    beside = [*ratings(low, high), (high + 0.1 * (high - low), low)]
    assert Emotion.implausible(beside) == {}


def test_ratings_far_from_the_others_are_doubted():
    assert Emotion.implausible([*ratings(1, 9), (55.0, 5.0), (5.0, -999.0)]) == {
        "arousal far from 0 to 10, where the others have it": [60],
        "valence far from 0 to 10, where the others have it": [61],
    }


def test_two_scales_are_doubted():
    pairs = [(arousal, valence / 9) for arousal, valence in ratings(1, 9, 3)]
    assert Emotion.implausible(pairs) == {"arousal on a scale of 0 to 10 and valence on a scale of -1 to 1": [0, 1, 2]}
    assert Emotion.implausible([]) == {}
