"""Vectors and targets of a split."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.errors import UserError
from experiments.probes.vectors import Split


def test_values_that_are_not_finite_are_refused_by_name():
    x = np.zeros((2, 3), np.float32)
    x[1, 2] = np.nan
    with pytest.raises(UserError, match=r"track 'b': value 2 of its features is nan"):
        Split(x, np.zeros(2, int), ["a", "b"])


def test_rows_must_match():
    with pytest.raises(UserError, match="one target and one id a track"):
        Split(np.zeros((2, 3), np.float32), np.zeros(3, int), ["a", "b"])
