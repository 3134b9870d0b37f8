"""Balanced sampling: the weights of the recipe, and draws that are right for any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.samplers import EpochSampler, EvenShare, balanced_weights, time_weights


def test_weights_of_a_hand_made_table():
    targets = np.array([[1, 0], [1, 1], [1, 0], [0, 0]])
    rare, common = 1000 / 101, 1000 / 103
    assert balanced_weights(targets) == pytest.approx([common, common + rare, common, 0])
    assert balanced_weights(targets, total=False) == pytest.approx([common, rare, common, 0])


def test_time_is_drawn_alike_and_a_temperature_brings_corpora_together():
    rows, corpora = [100, 300, 50, 50], ["large", "large", "small", "small"]
    assert time_weights(rows).tolist() == rows
    assert time_weights(rows, corpora).tolist() == rows
    shares = time_weights(rows, corpora, 2.0) / time_weights(rows, corpora, 2.0).sum()
    assert shares[:2].sum() / shares[2:].sum() == pytest.approx(2.0)  # the root of 4
    assert shares[1] / shares[0] == pytest.approx(3)
    assert time_weights(rows, corpora, 1e9)[:2].sum() == pytest.approx(time_weights(rows, corpora, 1e9)[2:].sum())


@given(st.integers(1, 60), st.integers(1, 80), st.integers(1, 5), st.integers(0, 3), st.booleans())
def test_f17_ranks_share_one_list(tracks, draws, world_size, epoch, replace):
    weights = np.linspace(1, 2, tracks)
    samplers = [EpochSampler(weights, draws, replace, 7, rank, world_size) for rank in range(world_size)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(samplers[0])}
    alone = EpochSampler(weights, draws, replace, 7)
    alone.set_epoch(epoch)
    whole = list(alone)
    assert set().union(*map(set, shares)) == set(whole)
    if not replace:
        assert len({track for track, _ in whole}) == len(whole) == min(draws, tracks)


def test_other_epochs_and_seeds_draw_otherwise():
    def order(seed, epoch):
        sampler = EpochSampler(np.ones(50), 50, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_a_heavier_track_comes_earlier_and_a_weightless_one_never():
    weights = np.array([0, 1, 9], float)
    firsts = []
    for epoch in range(400):
        sampler = EpochSampler(weights, 1)
        sampler.set_epoch(epoch)
        firsts.append(next(iter(sampler))[0])
    assert firsts.count(0) == 0
    assert firsts.count(2) / 400 == pytest.approx(0.9, abs=0.05)


def test_no_labels_at_all_is_an_error():
    with pytest.raises(ValueError, match="labels in the training split"):
        EpochSampler(np.zeros(3), 3)


@given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 3), st.integers(0, 20))
def test_an_epoch_that_goes_on_leaves_out_what_was_drawn(tracks, draws, world_size, skipped):
    for rank in range(world_size):
        sampler = EpochSampler(np.ones(tracks), draws, True, 3, rank, world_size)
        whole = list(sampler)
        sampler.skip(skipped)
        assert len(sampler) == len(whole)
        assert list(sampler) == whole[skipped:]
        assert list(sampler) == whole  # once


@pytest.mark.parametrize(("nodes", "local"), [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)])
def test_f17_processes_of_all_nodes_draw_apart(nodes, local):
    """The rank is counted over nodes: processes of equal local rank on two nodes share nothing."""
    shares = [
        {
            track
            for track, _ in EpochSampler(np.ones(24), 24, seed=1, rank=node * local + process, world_size=nodes * local)
        }
        for node in range(nodes)
        for process in range(local)
    ]
    assert sum(map(len, shares)) == len(set().union(*shares)) == 24


def test_even_shares_cover_everything_equally():
    shares = [list(EvenShare(10, rank, 3)) for rank in range(3)]
    assert {len(share) for share in shares} == {4}
    assert set().union(*map(set, shares)) == set(range(10))


def test_numbers_of_classes_weigh_as_their_multi_hot_form():
    numbers = np.array([2, 2, 0, 1, 2])
    np.testing.assert_array_equal(balanced_weights(numbers, 0.0), balanced_weights(np.eye(3)[numbers], 0.0))
    np.testing.assert_array_equal(balanced_weights(np.float32([120.2, 119.8, 90.0]), 0.0), [500, 500, 1000])
