"""From any probabilities to densities that forbid nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rhythm.observations import SMALLEST, evidence, exclusive


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_downbeat_other_beat_and_neither_are_probabilities_above_zero(pairs):
    beat, downbeat = np.array(pairs).T
    down, other = exclusive(beat, downbeat)
    assert (down > 0).all()
    assert (other > 0).all()
    assert (1 - down - other >= SMALLEST * (1 - 1e-9)).all()
    assert np.isfinite(evidence(down, other).gains).all()


def test_beats_that_are_no_downbeats():
    down, other = exclusive(np.array([0.9, 0.8, 0.1]), np.array([0.6, 0.0, 0.3]))
    assert down == pytest.approx([0.6, SMALLEST, 0.3])
    assert other == pytest.approx([0.3, 0.8, SMALLEST])


def test_certain_beats_keep_their_ratio():
    down, other = exclusive(np.array([1.0]), np.array([0.25]))
    assert down + other == pytest.approx([1 - SMALLEST])
    assert other / down == pytest.approx([3.0])
