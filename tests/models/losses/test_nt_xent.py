"""NT-Xent against its definition, pair by pair in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.losses.nt_xent import nt_xent


def by_pairs(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    z = torch.cat([first, second]).double()
    batch, losses = len(first), []
    for i in range(2 * batch):
        cosine = [float(z[i] @ z[k] / (z[i].norm() * z[k].norm())) / temperature for k in range(2 * batch)]
        others = sum(math.exp(cosine[k]) for k in range(2 * batch) if k != i)
        losses.append(-math.log(math.exp(cosine[(i + batch) % (2 * batch)]) / others))
    return sum(losses) / len(losses)


@given(st.integers(1, 7), st.floats(0.1, 2.0), st.integers(0, 999))
def test_equals_the_definition_for_any_batch(batch, temperature, seed):
    views = torch.randn(2, batch, 5, generator=torch.Generator().manual_seed(seed))

    assert float(nt_xent(*views, temperature)) == pytest.approx(by_pairs(*views, temperature), abs=1e-5)


def test_order_of_examples_and_of_views_does_not_matter():
    first, second = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 1, 5, 0, 2, 4])

    assert float(nt_xent(first[order], second[order])) == pytest.approx(float(nt_xent(first, second)), abs=1e-6)
    assert float(nt_xent(second, first)) == pytest.approx(float(nt_xent(first, second)), abs=1e-6)


def test_further_examples_are_found_wrong_and_never_searched_for():
    first, second, others = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
    whole_first, whole_second = torch.cat([first, others[:2]]), torch.cat([second, others[2:]])
    whole = torch.cat([whole_first, whole_second])
    rows = torch.tensor([0, 1, 2, 3, 6, 7, 8, 9])
    z = torch.nn.functional.normalize(whole.double(), dim=-1)
    cosines = (z @ z.t() / 0.5).fill_diagonal_(-math.inf)
    expected = torch.nn.functional.cross_entropy(cosines, torch.arange(12).roll(6), reduction="none")[rows].mean()

    assert float(nt_xent(first, second, 0.5, others)) == pytest.approx(float(expected), abs=1e-6)


def test_vectors_of_any_length_count_alike_and_half_precision_is_not_used():
    first, second = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))

    assert float(nt_xent(first * 7, second * 0.01)) == pytest.approx(float(nt_xent(first, second)), abs=1e-6)
    assert nt_xent(first.bfloat16(), second.bfloat16()).dtype == torch.float32
