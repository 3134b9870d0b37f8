"""Rankings under many resamples are those of scikit-learn on each of them, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from experiments.tasks import ranking


@given(st.integers(0, 10_000), st.integers(2, 60), st.sampled_from([2, 5, 1000]), st.floats(0.05, 0.95))
def test_resampled_rankings_are_scikit_learns(seed, n, values, share):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, values, n) / values).astype(np.float32)
    positives = rng.random(n) < share
    weights = rng.multinomial(n, np.full(n, 1 / n), size=5)
    judged = (
        (ranking.resampled_roc_auc, roc_auc_score),
        (ranking.resampled_average_precision, average_precision_score),
    )
    for resampled, reference in judged:
        for row, value in zip(weights, resampled(scores, positives, weights), strict=True):
            drawn = np.repeat(np.arange(n), row)
            if len(set(positives[drawn])) == 2:
                assert value == pytest.approx(reference(positives[drawn], scores[drawn]), abs=1e-12)
            else:
                assert np.isnan(value)
