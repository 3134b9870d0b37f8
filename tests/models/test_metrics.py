"""Rankings under many resamples are those of scikit-learn on each of them, ties included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from models import metrics


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.sampled_from([2, 5, 1000]), st.floats(0.05, 0.95))
def test_resampled_rankings_are_scikit_learns(seed, n, values, share):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, values, n) / values).astype(np.float32)
    positives = rng.random(n) < share
    weights = rng.multinomial(n, np.full(n, 1 / n), size=5)
    pairs = (
        (metrics.resampled_roc_auc, roc_auc_score),
        (metrics.resampled_average_precision, average_precision_score),
    )
    for resampled, reference in pairs:
        for row, value in zip(weights, resampled(scores, positives, weights), strict=True):
            drawn = np.repeat(np.arange(n), row)
            if len(set(positives[drawn])) == 2:
                assert value == pytest.approx(reference(positives[drawn], scores[drawn]), abs=1e-12)
            else:
                assert np.isnan(value)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.sampled_from([2, 5, 1000]), st.floats(0.05, 0.95))
def test_many_systems_are_ranked_as_scikit_learn_ranks_one(seed, n, values, share):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, values + 1, (3, n, 2)) / values).astype(np.float32)  # with 0, 1 and ties
    positives = rng.random((n, 2)) < share
    positives[0], positives[1] = True, False
    found = metrics.roc_auc_of_many(torch.from_numpy(scores), torch.from_numpy(positives))
    for system, values_of in zip(scores, found.tolist(), strict=True):
        expected = [roc_auc_score(positives[:, column], system[:, column]) for column in (0, 1)]
        assert values_of == pytest.approx(expected, abs=1e-12)
        assert metrics.roc_auc(system, positives) == pytest.approx(expected, abs=1e-12)


def test_saturated_scores_tie_and_small_ones_do_not():
    scores = torch.tensor([1.0, 1.0, 1e-45, 0.0, 2e-38])[None, :, None]
    positives = torch.tensor([True, False, True, False, False])[:, None]
    expected = roc_auc_score(positives[:, 0].numpy(), scores[0, :, 0].numpy().astype(float))
    assert float(metrics.roc_auc_of_many(scores, positives)[0, 0]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_given_tags_equal_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    said, positives = rng.random((2, 40, 6)) < rng.uniform(0, 0.5, (2, 1, 6))
    positives[:, 0], said[:, 1], said[:3] = False, False, False
    positives[0, 1] = True
    found = metrics.selection_metrics(said, positives)
    had = np.flatnonzero(positives.any(axis=0))
    for average, labels in (("micro", None), ("macro", had)):
        expected = precision_recall_fscore_support(positives, said, average=average, labels=labels, zero_division=0)
        names = [f"{name}_{average}" for name in ("precision", "recall", "f1")]
        assert [found[name] for name in names] == pytest.approx(list(expected[:3]), abs=1e-12)
    assert found["tags_per_track"] == pytest.approx(said.sum() / 40)
    assert found["untagged"] == np.mean(said.sum(axis=1) == 0) >= 3 / 40
