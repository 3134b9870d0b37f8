"""What files say of networks: arguments of plain values."""

from __future__ import annotations

import pytest

from models.descriptions import check_arguments
from models.errors import CheckpointError


@pytest.mark.parametrize("value", [3, 0.5, "relu", None, True, [1, 2], (4, 2), [[8, 2], [2, 1]], ((3, 3), (1, 10))])
def test_plain_values_lists_of_them_and_lists_of_lists_are_arguments(value):
    assert check_arguments({"sizes": value}, "file") == {"sizes": value}


@pytest.mark.parametrize(
    "value", [{"a": 1}, [[[1]]], [{"a": 1}], [[float("nan")]], [[10**12]], [[0] * 4096] * 2, [[]] * 5000, object()]
)
def test_anything_else_is_none(value):
    with pytest.raises(CheckpointError, match=r"file: network\.sizes is "):
        check_arguments({"sizes": value}, "file")
