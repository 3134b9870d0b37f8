"""A thinned series keeps its first, last, lowest and highest point and is even between them."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.thinned_series import ThinnedSeries


@pytest.mark.parametrize("count", [1, 49, 50, 51, 200, 997, 5000])
def test_a_long_series_keeps_first_last_and_best_evenly(count):
    values = np.random.default_rng(count).normal(size=count)
    kept = ThinnedSeries(50)
    for step, value in enumerate(values):
        kept.add(step + 1, [[step, float(value), 1.0]])
    steps = [point[0] for point in kept.points()]
    assert len(steps) <= 50
    assert len(steps) >= min(count, 20)
    assert steps == sorted(set(steps))
    assert {0, count - 1, int(values.argmin()), int(values.argmax())} <= set(steps)
    grid = sorted(set(steps) - {count - 1, int(values.argmin()), int(values.argmax())} | {0})
    assert set(np.diff(grid)) <= {kept.stride, 2 * kept.stride}, (
        "the rest is even, but where a kept one was on the grid"
    )


def test_a_series_does_not_depend_on_batches():
    points = [[step, float(step * 7919 % 101), 1.0] for step in range(1000)]
    one, many = ThinnedSeries(60), ThinnedSeries(60)
    one.add(1, points)
    for first in range(0, 1000, 13):
        many.add(first + 1, points[first : first + 13])
        many.add(first + 1, points[first : first + 13])  # repeated: no effect
    assert one.points() == many.points()
