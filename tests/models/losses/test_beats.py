"""Losses of beat curves: what they tolerate, what they ignore, what they cost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.losses.beats import class_entropy, shift_tolerant
from models.rhythm.calibration import positive_weight

WEIGHTS = torch.tensor([19.0, 87.0])


def example(seed: int, batch: int = 2, steps: int = 60, every: int = 15) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.zeros(batch, steps, 2)
    targets[:, 5::every, 0] = 1
    targets[:, 5 :: 2 * every, 1] = 1
    return torch.randn(batch, steps, 2, generator=generator), targets


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_without_tolerance_it_is_the_weighted_cross_entropy_also_of_soft_targets(seed):
    logits, targets = example(seed)
    targets = targets * torch.rand(targets.shape, generator=torch.Generator().manual_seed(seed))
    expected = sum(
        F.binary_cross_entropy_with_logits(logits[..., one], targets[..., one], pos_weight=WEIGHTS[one])
        for one in range(2)
    )
    torch.testing.assert_close(shift_tolerant(logits, targets, None, WEIGHTS), expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), shift=st.integers(-3, 3))
def test_a_shift_within_the_tolerance_costs_nothing(seed, shift):
    targets = torch.zeros(1, 80, 2)
    targets[:, 20:70:15] = 1
    logits = torch.full((1, 80, 2), -5.0)
    logits[:, 20:70:15] = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(seed)) + 4
    moved = shift_tolerant(logits.roll(shift, 1), targets, None, WEIGHTS, 3)
    torch.testing.assert_close(moved, shift_tolerant(logits, targets, None, WEIGHTS, 3))


def test_a_larger_shift_costs_and_so_does_a_second_peak_beyond_the_tolerance():
    targets = torch.zeros(1, 80, 2)
    targets[:, 20:70:15] = 1
    logits = torch.where(targets == 1, 5.0, -5.0)
    usual = shift_tolerant(logits, targets, None, WEIGHTS, 3)
    assert shift_tolerant(logits.roll(4, 1), targets, None, WEIGHTS, 3) > usual + 1
    second = logits.clone()
    second[:, 38] = 5.0  # three steps from the beat at 35
    torch.testing.assert_close(shift_tolerant(second, targets, None, WEIGHTS, 3), usual)
    second = logits.clone()
    second[:, 39] = 5.0  # four
    assert shift_tolerant(second, targets, None, WEIGHTS, 3) > usual + 0.1


def test_the_ends_of_a_crop_have_no_gradient():
    logits, targets = example(3)
    logits.requires_grad_()
    shift_tolerant(logits, targets, None, WEIGHTS, 3).backward()
    flat = logits.grad.abs().sum((0, 2))
    # the first positive that counts lies at step 20, the last at step 50: their windows reach no further
    assert not flat[:3].any()
    assert not flat[-3:].any()
    assert flat[8:50].any()
    alone = torch.zeros(1, 12, 2, requires_grad=True)
    shift_tolerant(alone, torch.ones(1, 12, 2), None, WEIGHTS, 3).backward()
    assert not alone.grad.any()  # a crop too short for the tolerance teaches nothing


@pytest.mark.parametrize("tolerance", [0, 3])
def test_padding_counts_neither_in_the_sum_nor_in_the_number(tolerance):
    logits, targets = example(5)
    expected = shift_tolerant(logits, targets, None, WEIGHTS, tolerance)
    junk = torch.full_like(logits, 7.0)
    items = shift_tolerant(
        torch.cat([logits, junk]),
        torch.cat([targets, 1 - targets]),
        torch.cat([torch.ones_like(logits), torch.zeros_like(logits)]),
        WEIGHTS,
        tolerance,
    )
    steps = shift_tolerant(
        torch.cat([logits, junk], 1),
        torch.cat([targets, 0 * targets], 1),
        torch.cat([torch.ones_like(logits), torch.zeros_like(logits)], 1),
        WEIGHTS,
        tolerance,
    )
    torch.testing.assert_close(items, expected)
    torch.testing.assert_close(steps, expected)


def test_each_curve_has_its_own_mean():
    logits, targets = example(6, batch=4)
    mask = torch.ones_like(logits)
    mask[2:, :, 1] = 0  # two tracks of whose downbeats nothing is known
    expected = F.binary_cross_entropy_with_logits(logits[..., 0], targets[..., 0], pos_weight=WEIGHTS[0])
    expected += F.binary_cross_entropy_with_logits(logits[:2, :, 1], targets[:2, :, 1], pos_weight=WEIGHTS[1])
    torch.testing.assert_close(shift_tolerant(logits, targets, mask, WEIGHTS), expected)
    mask[..., 1] = 0
    assert shift_tolerant(logits, targets, mask, WEIGHTS).isfinite()


def test_it_is_computed_in_single_precision():
    logits, targets = example(7)
    assert shift_tolerant(logits.bfloat16(), targets, None, WEIGHTS, 3).dtype == torch.float32


def test_classes_are_those_of_the_targets():
    logits = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(2, 30, 2)
    targets[:, ::5, 0], targets[:, ::10, 1] = 1, 1
    numbers = torch.where(targets[..., 1] == 1, 1, torch.where(targets[..., 0] == 1, 0, 2))
    expected = F.cross_entropy(logits.flatten(0, 1), numbers.flatten())
    torch.testing.assert_close(class_entropy(logits, targets, None, torch.ones(2)), expected)


def test_where_downbeats_are_unknown_any_beat_will_do():
    logits = torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(1))
    targets, mask = torch.zeros(1, 30, 2), torch.ones(1, 30, 2)
    targets[:, ::5, 0], mask[..., 1] = 1, 0
    swapped = logits[..., [1, 0, 2]]
    one = class_entropy(logits, targets, mask, torch.ones(2))
    torch.testing.assert_close(class_entropy(swapped, targets, mask, torch.ones(2)), one)
    pair = torch.stack([logits[..., :2].logsumexp(-1), logits[..., 2]], -1)
    expected = F.cross_entropy(pair.flatten(0, 1), (1 - targets[..., 0]).long().flatten())
    torch.testing.assert_close(one, expected)


@pytest.mark.parametrize(
    ("interval", "rate", "weight"),
    [(1 / 1.92, 50.0, 19.0), (1 / 0.53, 50.0, 87.0), (1 / 1.92, 100.0, 45.0), (0.5, 10.0, 1.0)],
)
def test_the_weight_is_the_number_of_negatives_for_a_positive(interval, rate, weight):
    assert positive_weight(interval, rate) == weight
