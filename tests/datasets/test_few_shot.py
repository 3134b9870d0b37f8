"""Smaller training splits: nested, of every class, the same however tracks are ordered."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.few_shot import few_shot_rows, names_per_class


def members(kind: str, n: int, seed: int) -> np.ndarray:
    """Which of `n` tracks are of which of three classes: several of them (tags), or one."""
    random = np.random.default_rng(seed)
    return random.random((n, 3)) < 0.3 if kind == "tags" else random.integers(0, 3, n)[:, None] == range(3)


problems = given(st.sampled_from(["class", "tags"]), st.integers(1, 60), st.integers(0, 2**31), st.integers(0, 5))


def names_of(n: int, group: int) -> list[str]:
    return [f"track {row // max(group, 1)}" for row in range(n)]


@settings(max_examples=60, deadline=None)
@problems
def test_subsets_of_a_seed_are_nested_and_hold_every_class(kind, n, seed, group):
    member, names = members(kind, n, seed), names_of(n, group)
    for option, sizes in (("shots", (1, 2, 5, 100)), ("share", (0.01, 0.3, 0.31, 1.0))):
        subsets = [
            set(few_shot_rows(member, names, seed=seed, tags=kind == "tags", **{option: size}).tolist())
            for size in sizes
        ]
        assert all(small <= large for small, large in itertools.pairwise(subsets))
        for kept in subsets:
            assert (member[sorted(kept)].any(axis=0) == member.any(axis=0)).all()
    assert subsets[-1] == set(range(n))


@settings(max_examples=40, deadline=None)
@problems
def test_songs_stay_whole_and_the_order_of_tracks_does_not_matter(kind, n, seed, group):
    member, names, tags = members(kind, n, seed), names_of(n, group), kind == "tags"
    order = np.random.default_rng(seed).permutation(n)
    for option in ({"shots": 2}, {"share": 0.4}):
        kept = few_shot_rows(member, names, seed=seed, tags=tags, **option)
        songs = {names[row] for row in kept}
        assert kept.tolist() == [row for row in range(n) if names[row] in songs]
        again = few_shot_rows(member[order], [names[row] for row in order], seed=seed, tags=tags, **option)
        assert {names[order[row]] for row in again} == songs


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 80), st.integers(0, 2**31), st.integers(1, 9))
def test_so_many_of_every_class(n, seed, shots):
    genres = members("class", n, seed)
    kept = few_shot_rows(genres, names_of(n, 1), shots=shots, seed=seed)
    assert genres[kept].sum(axis=0).tolist() == np.minimum(genres.sum(axis=0), shots).tolist()
    tags = members("tags", n, seed)
    kept = few_shot_rows(tags, names_of(n, 1), shots=shots, seed=seed, tags=True)
    assert (tags[kept].sum(axis=0) >= np.minimum(tags.sum(axis=0), shots)).all()


def test_a_share_is_that_of_every_class():
    genres = np.repeat([0, 1, 2], [100, 60, 20])
    kept = few_shot_rows(genres[:, None] == range(3), names_of(180, 1), share=0.25, seed=3)
    assert np.bincount(genres[kept]).tolist() == [25, 15, 5]


def test_seeds_differ():
    genres = np.repeat([0, 1], 50)
    kept = {
        tuple(few_shot_rows(genres[:, None] == range(2), names_of(100, 1), shots=5, seed=seed)) for seed in range(5)
    }
    assert len(kept) == 5


def test_names_of_every_class_are_counted():
    genres = np.repeat([0, 1], [4, 9])
    assert names_per_class(genres[:, None] == range(3), names_of(13, 2)) == [2, 5, 0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "give one of them"),
        ({"shots": 1, "share": 0.5}, "give one of them"),
        ({"shots": 0}, "shots=0: expected 1 or more"),
        ({"share": 0.0}, "share=0.0: expected more than 0"),
        ({"share": 1.5}, "at most 1"),
    ],
)
def test_numbers_out_of_range_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        few_shot_rows(np.eye(2, dtype=bool), ["x", "y"], **wrong)
