"""A small network for the tests of this folder."""

from __future__ import annotations

import pytest
import torch

from models.maest import MAEST
from tests.models.maest.shapes import SMALL, randomise


@pytest.fixture
def network() -> MAEST:
    torch.manual_seed(0)
    return randomise(MAEST(**SMALL)).eval()
