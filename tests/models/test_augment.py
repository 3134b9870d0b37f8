"""Augmentations change their input, leave the caller's tensor alone, and do what their settings say."""

from __future__ import annotations

import pytest
import torch

from models.augment import mixup, mixup_draw, roll, spec_augment


@pytest.fixture
def clips():
    torch.manual_seed(0)
    return torch.randn(6, 300, 96) + 5


def test_spec_augment_masks_some_and_leaves_the_rest(clips):
    before = clips.clone()
    masked = spec_augment(clips)
    assert torch.equal(clips, before)
    hidden = masked == 0
    assert 0.02 < hidden.float().mean() < 0.6
    assert torch.equal(masked[~hidden], clips[~hidden])
    assert not torch.equal(hidden[0], hidden[1])


def test_spec_augment_respects_its_limits(clips):
    one_stretch = spec_augment(clips, time_masks=1, time_mask_param=8, freq_masks=0)
    hidden_frames = (one_stretch == 0).all(dim=2).sum(dim=1)
    assert int(hidden_frames.max()) <= 8
    shorter = spec_augment(clips[:, :20], time_masks=1, time_mask_param=8, freq_masks=0, p=0.2)
    assert int((shorter == 0).all(dim=2).sum(dim=1).max()) <= 4
    assert torch.equal(spec_augment(clips, time_masks=0, freq_masks=0), clips)


def test_a_30_s_clip_loses_about_a_fifth():
    torch.manual_seed(0)
    masked = spec_augment(torch.ones(64, 1875, 96))
    assert float((masked == 0).float().mean()) == pytest.approx(0.2, abs=0.04)


def test_mixup_keeps_the_larger_share_and_mixes_targets_alike(clips):
    permutation, weights = mixup_draw(len(clips), 0.3)
    assert float(weights.min()) >= 0.5
    assert sorted(permutation.tolist()) == list(range(len(clips)))
    mixed = mixup(clips, permutation, weights)
    targets = torch.eye(len(clips))
    assert torch.allclose(torch.einsum("bk,kfm->bfm", mixup(targets, permutation, weights), clips), mixed, atol=1e-5)


def test_roll_is_circular(clips):
    rolled = roll(clips, 50)
    assert not torch.equal(rolled, clips)
    assert torch.allclose(rolled.sum(dim=1), clips.sum(dim=1), rtol=1e-4)
    for clip, turned in zip(clips, rolled, strict=True):
        assert any(torch.equal(clip.roll(shift, 0), turned) for shift in range(-50, 51))


@pytest.mark.parametrize("shape", [(6, 300, 96), (6, 40)], ids=["clips", "targets"])
def test_every_augmentation_changes_what_it_gets_and_leaves_the_callers_tensor_alone(shape):
    torch.manual_seed(0)
    x = torch.rand(shape) + 1
    kinds = [lambda: mixup(x, *mixup_draw(len(x), 0.3))]
    if len(shape) == 3:
        kinds += [lambda: roll(x, 50), lambda: spec_augment(x)]
    for augmented in kinds:
        before, out = x.clone(), augmented()
        assert out.shape == x.shape
        assert not torch.equal(out, x)
        out.zero_()
        assert torch.equal(x, before)
