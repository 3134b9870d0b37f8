from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datasets.time_grid import TimeGrid


@given(st.floats(5, 200), st.integers(1, 8), st.integers(1, 500))
def test_a_step_stands_at_the_centre_of_its_frames(rate, pool, frames):
    grid = TimeGrid(rate, pool)
    steps = grid.steps(frames)
    centres = [np.mean(np.arange(pool * step, pool * step + pool) / rate) for step in range(steps)]
    np.testing.assert_allclose(grid.times(steps), centres, atol=1e-9)
    assert frames - pool < steps * pool <= frames


@given(st.floats(5, 200), st.integers(1, 8), st.integers(1, 500))
def test_the_nearest_step_of_its_own_time_is_the_step(rate, pool, steps):
    grid = TimeGrid(rate, pool)
    assert grid.nearest(grid.times(steps)).tolist() == list(range(steps))
    assert grid.nearest(grid.times(steps) + 0.3 / grid.rate).tolist() == list(range(steps))
