"""NT-Xent against its definition, pair by pair in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.losses.nt_xent import nt_xent

VIEWS = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))


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


def by_cross_entropy(first, second, temperature, others=None):
    """The definition in operations that are differentiated automatically, in double precision."""
    z = torch.cat([first, second, *([] if others is None else [others])]).double()
    z = torch.nn.functional.normalize(z, dim=-1)
    batch = len(first)
    own = z[: 2 * batch] @ z.t() / temperature
    own = own.masked_fill(torch.eye(*own.shape, dtype=torch.bool), -math.inf)
    return torch.nn.functional.cross_entropy(own, torch.arange(2 * batch).roll(batch))


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(0, 5), st.floats(0.05, 2.0), st.integers(0, 999))
def test_gradients_are_those_of_the_definition(batch, further, temperature, seed):
    draw = torch.Generator().manual_seed(seed)
    parts = [torch.randn(size, 5, generator=draw) for size in (batch, batch, further)]
    ours, theirs = ([part.clone().requires_grad_() for part in parts] for _ in range(2))
    (3 * nt_xent(ours[0], ours[1], temperature, ours[2])).backward()
    (3 * by_cross_entropy(theirs[0], theirs[1], temperature, theirs[2])).backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=2e-5, rtol=1e-3)


def test_cosines_are_float32_under_mixed_precision():
    first, second = VIEWS
    with torch.autocast("cpu", torch.bfloat16):
        mixed = nt_xent(first, second, 0.05)
    assert float(mixed) == float(nt_xent(first, second, 0.05))


@pytest.mark.parametrize("batch", [16, 64])
def test_one_matrix_of_the_size_of_the_cosines_is_kept(batch):
    first, second = torch.randn(2, batch, 8, generator=torch.Generator().manual_seed(0)).requires_grad_().unbind()
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: sizes.append(kept.numel()) or kept, lambda kept: kept):
        nt_xent(first, second)
    assert [size for size in sizes if size > 2 * batch * 8] == [(2 * batch) ** 2]


def test_logits_of_any_size_are_finite():
    same = torch.ones(4, 8)
    assert float(nt_xent(same, same, 0.001)) == pytest.approx(math.log(7), rel=1e-5)
    assert float(nt_xent(torch.eye(4), torch.eye(4), 0.001)) == pytest.approx(0, abs=1e-5)
