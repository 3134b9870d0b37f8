"""Measures of a contrastive representation against their definitions, in double precision."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import models.contrastive_measures as measures
from models.contrastive_measures import alignment, effective_rank, has_collapsed, partner_search, uniformity
from models.losses.nt_xent import nt_xent


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def unit(x: torch.Tensor) -> np.ndarray:
    return (x / x.norm(dim=-1, keepdim=True)).numpy()


@given(st.integers(1, 9), st.floats(0.1, 2.0), st.integers(0, 99))
def test_among_all_tracks_the_loss_is_that_of_the_training(tracks, temperature, seed):
    views = drawn(2, tracks, 5, seed=seed)

    losses, _ = partner_search(*views, temperature)

    assert losses.shape == (2, tracks)
    assert float(losses.mean()) == pytest.approx(float(nt_xent(*views, temperature)), abs=1e-5)


@given(st.integers(2, 9), st.integers(0, 99))
def test_wrong_views_that_are_as_near_as_the_partner_are_counted(tracks, seed):
    first, second = drawn(2, tracks, 3, seed=seed)
    views, expected = np.concatenate([unit(first), unit(second)]), np.empty((2, tracks))
    for anchor in range(2 * tracks):
        partner = (anchor + tracks) % (2 * tracks)
        wrong = [other for other in range(2 * tracks) if other not in (anchor, partner)]
        nearer = sum(views[anchor] @ views[other] >= views[anchor] @ views[partner] for other in wrong)
        expected[anchor // tracks, anchor % tracks] = nearer

    assert partner_search(first, second)[1].numpy() == pytest.approx(expected)


def test_groups_are_as_large_as_a_batch_and_every_track_counts_once(monkeypatch):
    first, second = drawn(2, 11, 4)
    order = np.random.default_rng(0).permutation(11)
    expected = np.empty((2, 11))
    for group, counted in ((order[:4], 4), (order[4:8], 4), (np.r_[order[8:], order[:1]], 3)):
        losses, _ = partner_search(first[group], second[group], 0.3)
        expected[:, group[:counted]] = losses[:, :counted]

    assert partner_search(first, second, 0.3, batch=4)[0].numpy() == pytest.approx(expected)
    monkeypatch.setattr(measures, "BLOCK", 5)
    assert partner_search(first, second, 0.3, batch=4)[0].numpy() == pytest.approx(expected)


def test_a_split_smaller_than_a_batch_has_a_loss_of_the_same_size():
    first, second = drawn(2, 4000, 16)
    second = first + second
    whole = float(partner_search(first, second, 0.5, batch=64)[0].mean())
    few = float(partner_search(first[:32], second[:32], 0.5, batch=64)[0].mean())
    unscaled = float(partner_search(first[:32], second[:32], 0.5)[0].mean())

    assert few == pytest.approx(whole, abs=0.1)
    assert unscaled == pytest.approx(whole - math.log(2), abs=0.2)


def test_where_all_views_are_one_nobody_finds_a_partner_and_the_loss_is_that_of_guessing():
    same = torch.ones(10, 4)
    losses, nearer = partner_search(same, same, 0.5, batch=5)

    assert float(losses.mean()) == pytest.approx(math.log(9))
    assert (nearer == 8).all()


def test_vectors_that_are_not_finite_find_nobody():
    losses, nearer = partner_search(torch.full((6, 4), torch.nan), torch.ones(6, 4))

    assert losses.isnan().any()
    assert nearer.min() > 0


def test_alignment_is_the_mean_squared_distance_of_partners():
    first, second = drawn(2, 7, 5)

    assert alignment(first, second) == pytest.approx(((unit(first) - unit(second)) ** 2).sum(1).mean())
    assert alignment(first, 3 * first) == pytest.approx(0, abs=1e-12)
    assert alignment(first, -first) == pytest.approx(4)


@given(st.integers(2, 9), st.integers(0, 99))
def test_uniformity_is_the_logarithm_of_the_mean_potential_of_all_pairs(tracks, seed):
    x = drawn(tracks, 3, seed=seed)
    pairs = itertools.combinations(unit(x), 2)
    expected = math.log(np.mean([math.exp(-2 * ((one - other) ** 2).sum()) for one, other in pairs]))

    assert uniformity(x) == pytest.approx(expected, abs=1e-9)


def test_uniformity_in_blocks_and_of_one_point(monkeypatch):
    x = drawn(20, 3)
    whole = uniformity(x)
    monkeypatch.setattr(measures, "BLOCK", 70)

    assert uniformity(x) == pytest.approx(whole)
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-6)
    assert uniformity(torch.zeros(5, 3)) == 0
    assert math.isnan(uniformity(x[:1]))
    assert math.isnan(uniformity(torch.full((5, 3), torch.nan)))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_effective_rank_is_the_exponential_of_the_entropy_of_singular_values(tracks, dim, seed):
    x = drawn(tracks, dim, seed=seed)
    values = np.linalg.svd(x.numpy(), compute_uv=False)
    shares = values / values.sum()

    assert effective_rank(x) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-6)
    assert effective_rank(-7 * x) == pytest.approx(effective_rank(x), rel=1e-6)


def test_effective_rank_of_known_vectors():
    assert effective_rank(torch.eye(6)) == pytest.approx(6)
    assert effective_rank(torch.outer(torch.rand(9), torch.rand(5))) == pytest.approx(1, abs=1e-2)
    assert effective_rank(torch.zeros(4, 3)) == 0
    assert math.isnan(effective_rank(torch.full((4, 3), torch.inf)))


def test_one_point_is_a_collapse_and_scattered_points_are_none():
    x, point = drawn(64, 32), drawn(32)
    around = point + 1e-3 * x

    assert has_collapsed(effective_rank(around), -2.0)
    assert has_collapsed(20.0, uniformity(around))
    assert not has_collapsed(effective_rank(point.abs() + 0.1 * x), uniformity(point.abs() + 0.1 * x))
    assert not has_collapsed(math.nan, math.nan)
