"""Patchout keeps a constant number of sorted patches, whatever settings are combined."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.maest.patchout import Patchout, cut_patches, sum_positions

SETTINGS = [
    {"u_patchout": 100},
    {"s_patchout_t": 90},
    {"s_patchout_f": 3},
    {"s_patchout_f_indices": (0, 1)},
    {"s_patchout_f_interleaved": 2},
    {"s_patchout_t_indices": (0, 5)},
    {"s_patchout_t_interleaved": 2},
]


def positions(patchout: Patchout, rows: int, columns: int, training: bool) -> list[int]:
    """Kept patches as positions in the whole grid."""
    kept = patchout.sample(rows, columns, training)
    if kept is None:
        return list(range(rows * columns))
    grid = (kept.rows[:, None] * columns + kept.columns).flatten()
    return (grid if kept.tokens is None else grid[kept.tokens]).tolist()


def enough(rows: int, columns: int, training: bool, settings: dict) -> bool:
    """Whether at least one patch is left, counted from the definition."""
    left = []
    for axis, size in (("f", rows), ("t", columns)):
        kept = range(0, size, settings[f"s_patchout_{axis}_interleaved"] or 1)
        random = settings[f"s_patchout_{axis}"] if training else 0
        left.append(max(len(set(kept) - set(settings[f"s_patchout_{axis}_indices"])) - random, 0))
    return left[0] * left[1] > 0 and left[0] * left[1] > (settings["u_patchout"] if training else 0)


@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 40),
    training=st.booleans(),
    settings=st.fixed_dictionaries(
        {
            "u_patchout": st.integers(0, 20),
            "s_patchout_t": st.integers(0, 12),
            "s_patchout_f": st.integers(0, 4),
            "s_patchout_f_indices": st.lists(st.integers(0, 11), max_size=4),
            "s_patchout_f_interleaved": st.integers(0, 4),
            "s_patchout_t_indices": st.lists(st.integers(0, 39), max_size=6),
            "s_patchout_t_interleaved": st.integers(0, 4),
        }
    ),
)
def test_f23_any_combination_keeps_what_it_counts_or_says_why_not(rows, columns, training, settings):
    patchout = Patchout(**settings)
    if not enough(rows, columns, training, settings):
        with pytest.raises(ValueError, match="patchout"):
            patchout.sample(rows, columns, training)
        return
    expected = patchout.count(rows, columns, training)
    kept = positions(patchout, rows, columns, training)
    assert len(kept) == expected >= 1
    assert kept == sorted(set(kept))
    assert kept[-1] < rows * columns
    for position in kept:
        row, column = divmod(position, columns)
        assert row not in settings["s_patchout_f_indices"]
        assert column not in settings["s_patchout_t_indices"]
        assert row % (settings["s_patchout_f_interleaved"] or 1) == 0
        assert column % (settings["s_patchout_t_interleaved"] or 1) == 0


@pytest.mark.parametrize(
    "pair", itertools.combinations(SETTINGS, 2), ids=lambda pair: "+".join(k for s in pair for k in s)
)
def test_f23_pairs_on_the_grid_of_30_seconds(pair):
    patchout = Patchout(**{**pair[0], **pair[1]})
    for training in (False, True):
        assert len(positions(patchout, 9, 186, training)) == patchout.count(9, 186, training)


def test_evaluation_ignores_the_random_settings():
    patchout = Patchout(u_patchout=10, s_patchout_t=5, s_patchout_f=2)
    assert patchout.sample(9, 30, training=False) is None


def test_draws_follow_the_seed_and_vary():
    patchout = Patchout(s_patchout_t=10, s_patchout_f=3, u_patchout=7)
    torch.manual_seed(1)
    first, second = (positions(patchout, 9, 30, True) for _ in range(2))
    torch.manual_seed(1)
    again = positions(patchout, 9, 30, True)
    assert first == again != second


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"s_patchout_t": 30}, "leaves no time column of 30 .*s_patchout_t=30"),
        ({"s_patchout_f": 9}, "leaves no frequency row of 9"),
        ({"s_patchout_f_indices": range(9)}, "leaves no frequency row"),
        ({"u_patchout": 270}, "drops every one of the 9 x 30 patches: expected at most 269"),
        ({"s_patchout_f_indices": (9,)}, r"s_patchout_f_indices holds \[9\]: the grid has the indices 0 to 8"),
        ({"s_patchout_t": -1}, "s_patchout_t=-1: expected 0"),
    ],
)
def test_settings_that_leave_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Patchout(**settings).check(9, 30)


@given(rows=st.integers(1, 8), columns=st.integers(1, 20), masked=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_every_window_keeps_its_own_part_of_the_patches(rows, columns, masked, seed):
    patchout = Patchout(s_patchout_f_indices=(0,) if rows > 1 else ())
    total = patchout.count(rows, columns, training=False)
    kept = patchout.sample_each(rows, columns, 5, masked, torch.Generator().manual_seed(seed))
    assert kept.tokens.shape == (5, max(1, round(total * (1 - masked))))
    for tokens in kept.tokens.tolist():
        assert len(set(tokens)) == len(tokens)
        assert 0 <= min(tokens) <= max(tokens) < total
    again = patchout.sample_each(rows, columns, 5, masked, torch.Generator().manual_seed(seed))
    assert torch.equal(kept.tokens, again.tokens)


def test_windows_are_masked_apart_from_each_other_and_evenly():
    kept = Patchout().sample_each(6, 12, 4000, 0.9).tokens
    assert not torch.equal(kept[0], kept[1])
    share = kept.flatten().bincount(minlength=72) / len(kept)
    assert torch.allclose(share, torch.full((72,), 7 / 72), atol=0.02)


def test_patches_and_positions_of_each_are_those_of_its_part():
    x, frequency, time = torch.randn(3, 48, 64), torch.randn(1, 8, 3, 1), torch.randn(1, 8, 1, 4)
    kept = Patchout().sample_each(3, 4, 3, 0.6)
    every = cut_patches(x, 16, 16, None)
    expected = torch.stack([patches[tokens] for patches, tokens in zip(every, kept.tokens, strict=True)])
    assert torch.equal(cut_patches(x, 16, 16, kept), expected)
    assert torch.equal(sum_positions(frequency, time, kept), sum_positions(frequency, time, None)[kept.tokens])
