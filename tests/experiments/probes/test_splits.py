"""Smaller training splits: nested, of every class, the same however tracks are ordered."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import UserError
from experiments.probes.splits import few_shot_rows, few_shot_subset, underrepresented
from experiments.probes.vectors import Split
from experiments.tasks import build
from experiments.tracks.strata import membership

TASKS = {
    "tagging": build("tagging", classes=["a", "b", "c"]),
    "genre": build("genre", classes=["a", "b", "c"]),
    "key": build("key"),
    "emotion": build("emotion", mean=[0, 0], scale=[1, 1]),
    "tempo": build("tempo"),
    "tempo_regression": build("tempo_regression", mean=[7], scale=[1]),
}


def targets_of(name: str, n: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    if name == "tagging":
        return (random.random((n, 3)) < 0.3).astype(np.float32)
    if name in ("genre", "key"):
        return random.integers(0, 3, n)
    if name == "emotion":
        return random.normal(size=(n, 2)).astype(np.float32)
    return random.uniform(50, 200, n).astype(np.float32)


problems = given(st.sampled_from(sorted(TASKS)), st.integers(1, 60), st.integers(0, 2**31), st.integers(0, 5))


def names_of(n: int, group: int) -> list[str]:
    return [f"track {row // max(group, 1)}" for row in range(n)]


@settings(max_examples=60, deadline=None)
@problems
def test_subsets_of_a_seed_are_nested_and_hold_every_class(name, n, seed, group):
    task, targets, names = TASKS[name], targets_of(name, n, seed), names_of(n, group)
    member, _ = membership(task, targets)
    for option, sizes in (("shots", (1, 2, 5, 100)), ("share", (0.01, 0.3, 0.31, 1.0))):
        subsets = [set(few_shot_rows(task, targets, names, seed=seed, **{option: size}).tolist()) for size in sizes]
        assert all(small <= large for small, large in itertools.pairwise(subsets))
        for kept in subsets:
            assert (member[sorted(kept)].any(axis=0) == member.any(axis=0)).all()
    assert subsets[-1] == set(range(n))


@settings(max_examples=40, deadline=None)
@problems
def test_songs_stay_whole_and_the_order_of_tracks_does_not_matter(name, n, seed, group):
    task, targets, names = TASKS[name], targets_of(name, n, seed), names_of(n, group)
    order = np.random.default_rng(seed).permutation(n)
    for option in ({"shots": 2}, {"share": 0.4}):
        kept = few_shot_rows(task, targets, names, seed=seed, **option)
        songs = {names[row] for row in kept}
        assert kept.tolist() == [row for row in range(n) if names[row] in songs]
        again = few_shot_rows(task, targets[order], [names[row] for row in order], seed=seed, **option)
        assert {names[order[row]] for row in again} == songs


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 80), st.integers(0, 2**31), st.integers(1, 9))
def test_so_many_of_every_class(n, seed, shots):
    genres = targets_of("genre", n, seed)
    kept = few_shot_rows(TASKS["genre"], genres, names_of(n, 1), shots=shots, seed=seed)
    assert (
        np.bincount(genres[kept], minlength=3).tolist() == np.minimum(np.bincount(genres, minlength=3), shots).tolist()
    )
    tags = targets_of("tagging", n, seed)
    kept = few_shot_rows(TASKS["tagging"], tags, names_of(n, 1), shots=shots, seed=seed)
    assert (tags[kept].sum(axis=0) >= np.minimum(tags.sum(axis=0), shots)).all()


def test_a_share_is_that_of_every_class():
    genres = np.repeat([0, 1, 2], [100, 60, 20])
    kept = few_shot_rows(TASKS["genre"], genres, names_of(180, 1), share=0.25, seed=3)
    assert np.bincount(genres[kept]).tolist() == [25, 15, 5]


def test_seeds_differ():
    genres = np.repeat([0, 1], 50)
    kept = {tuple(few_shot_rows(TASKS["genre"], genres, names_of(100, 1), shots=5, seed=seed)) for seed in range(5)}
    assert len(kept) == 5


def test_a_split_keeps_its_rows_together():
    x, y = np.arange(8, dtype=np.float32)[:, None], np.array([0, 0, 0, 0, 1, 1, 1, 1])
    split = Split(x, y, [f"{row // 2}-{row % 2}" for row in range(8)], groups=tuple(str(row // 2) for row in range(8)))
    small = few_shot_subset(TASKS["genre"], split, shots=1, seed=1)
    assert len(small.ids) == 4 == len(small.groups)
    assert [split.ids[int(row)] for row in small.x[:, 0]] == small.ids
    assert small.y.tolist() == [0, 0, 1, 1]
    assert few_shot_subset(TASKS["genre"], split) is split


def test_classes_of_few_tracks_are_counted():
    genres = np.repeat([0, 1], [3, 9])
    assert underrepresented(TASKS["genre"], genres, names_of(12, 1), 5) == {"a": 3}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "give one of them"),
        ({"shots": 1, "share": 0.5}, "give one of them"),
        ({"shots": 0}, "shots=0: expected 1 or more"),
        ({"share": 0.0}, "share=0.0: expected more than 0"),
        ({"share": 1.5}, "at most 1"),
    ],
)
def test_numbers_out_of_range_are_named(wrong, said):
    with pytest.raises(UserError, match=said):
        few_shot_rows(TASKS["genre"], np.array([0, 1]), ["x", "y"], **wrong)
