"""Augmentations for networks that look for beats."""

from __future__ import annotations

import pytest
import torch

from models.augment import Chain, resample
from models.augment.rhythm import drop_bands, level, pitch_shift, shuffle_time


@pytest.fixture(autouse=True)
def same_draws():
    torch.manual_seed(0)


def test_frame_n_of_what_is_played_faster_is_frame_n_times_the_rate():
    x = torch.arange(60.0).repeat(3, 1)[..., None] * torch.tensor([1.0, -2.0])
    rates = torch.tensor([1.0, 0.8, 1.25])
    faster = resample(x, rates, 40)
    assert faster.shape == (3, 40, 2)
    expected = torch.arange(40) * rates[:, None]
    torch.testing.assert_close(faster[..., 0], expected)
    torch.testing.assert_close(faster[..., 1], -2 * expected)
    assert resample(x[..., 0], rates, 40).shape == (3, 40)


def test_bands_of_all_maps_are_shifted_together_and_time_is_not():
    x = torch.randn(64, 7, 3, 20)
    moved = pitch_shift(x, 4, p=1.0)
    shifts = set()
    for before, after in zip(x, moved, strict=True):
        same = [
            s
            for s in range(-4, 5)
            if torch.equal(after[..., max(s, 0) : 20 + min(s, 0)], before.roll(s, -1)[..., max(s, 0) : 20 + min(s, 0)])
        ]
        assert len(same) == 1
        shifts.add(same[0])
    assert shifts == set(range(-4, 5))
    assert torch.equal(pitch_shift(x, 4, p=0.0), x)


def test_shuffled_frames_are_the_same_frames_and_most_stay():
    x = torch.arange(300.0).repeat(16, 1)[..., None]
    shuffled = shuffle_time(x, stretches=2, shortest=10, longest=40, p=1.0)
    assert torch.equal(shuffled.sort(dim=1).values, x)
    moved = (shuffled != x).sum((1, 2))
    assert 0 < moved.max() <= 80
    assert torch.equal(shuffle_time(x[:, :4]), x[:, :4])  # too short to be shuffled
    assert torch.equal(shuffle_time(x, p=0.0), x)
    assert torch.equal(shuffle_time(x, stretches=0), x)


def test_dropped_bands_are_one_run_at_most_so_wide():
    x = torch.ones(64, 5, 40)
    kept = drop_bands(x, share=0.25, p=1.0)[:, 0]
    for row in kept:
        hidden = (row == 0).nonzero()[:, 0]
        assert len(hidden) <= 10
        assert not len(hidden) or hidden[-1] - hidden[0] == len(hidden) - 1
    assert (kept == 0).any()


def test_a_level_is_added_to_all_of_an_example():
    added = level(torch.zeros(32, 4, 6), -0.5, 0.5, p=1.0)
    assert (added == added[:, :1, :1]).all()
    assert added.abs().max() <= 0.5
    assert len(added[:, 0, 0].unique()) == 32


def test_a_chain_knows_the_speeds_of_its_time_stretch():
    chain = Chain.build([{"name": "time_stretch", "low": 0.9}, {"name": "drop_bands"}], audio=False)
    assert chain.speeds == (0.9, 1.25)
    assert [name for name, _ in chain.after] == ["drop_bands"]
    assert Chain.build([{"name": "roll"}], audio=False).speeds is None


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"name": "level"}, {"name": "time_stretch"}], "put it first"),
        ([{"name": "time_stretch"}, {"name": "time_stretch"}], "once"),
        ([{"name": "time_stretch", "low": 0.0, "high": 1.0}], "speeds above 0"),
        ([{"name": "time_stretch", "low": 2.0, "high": 1.0}], r"low=2\.0 is above"),
    ],
)
def test_a_time_stretch_that_cannot_be(steps, message):
    with pytest.raises(ValueError, match=message):
        Chain.build(steps, audio=False)
