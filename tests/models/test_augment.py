"""Augmentations change their input, leave the caller's tensor alone, and do what their settings say."""

from __future__ import annotations

import pytest
import torch

from models.augment import FEATURES, WAVEFORMS, Chain, gain, mixup, mixup_draw, noise, polarity, roll, spec_augment


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


def test_frames_of_several_rows_of_bands_are_masked_and_rolled_alike():
    x = torch.randn(3, 60, 6, 16) + 5
    hidden = spec_augment(x) == 0
    assert hidden.any()
    assert torch.equal(hidden, hidden[:, :, :1].expand_as(hidden))
    rolled = roll(x, 9)
    for clip, turned in zip(x, rolled, strict=True):
        assert any(torch.equal(clip.roll(shift, 0), turned) for shift in range(-9, 10))


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


@pytest.fixture
def audio():
    torch.manual_seed(0)
    return torch.rand(2000, 64) - 0.5


def test_gain_is_uniform_in_decibels_and_clipped(audio):
    changed = gain(audio, -12.0, 6.0, p=1.0)
    level = 20 * torch.log10(changed.abs().amax(1) / audio.abs().amax(1))
    assert -12 <= float(level.min()) < -11
    assert float(level.max()) <= 6.001
    assert float(changed.abs().max()) <= 1
    assert float(level.mean()) == pytest.approx(-3, abs=0.5)


def test_polarity_flips_whole_examples(audio):
    changed = polarity(audio, p=0.8)
    flipped = (changed == -audio).all(1)
    assert torch.equal(changed[~flipped], audio[~flipped])
    assert float(flipped.float().mean()) == pytest.approx(0.8, abs=0.03)


def test_noise_is_a_share_of_the_deviation(audio):
    long = torch.randn(200, 4000) * torch.linspace(0.01, 0.1, 200)[:, None]
    changed = noise(long, 0.1, 0.2, p=1.0)
    share = (changed - long).std(1) / long.std(1)
    assert 0.095 < float(share.min()) < float(share.max()) < 0.21
    assert torch.isfinite(noise(torch.zeros(4, 64), p=1.0)).all()


@pytest.mark.parametrize("name", WAVEFORMS)
def test_steps_on_waveforms_are_rare_where_they_should_be_and_leave_their_input_alone(name):
    torch.manual_seed(0)
    audio = torch.rand(2000, 700) - 0.5
    before = audio.clone()
    sometimes, never = (Chain.build([{"name": name, "p": p}], audio=True, sample_rate=16_000) for p in (0.25, 0.0))
    changed = sometimes.waveforms(audio)
    assert torch.equal(audio, before)
    assert changed.dtype == audio.dtype
    assert changed.shape == audio.shape
    assert float((changed != audio).any(1).float().mean()) == pytest.approx(0.25, abs=0.04)
    assert torch.equal(never.waveforms(audio), audio)


def test_a_chain_is_its_steps_in_order(clips):
    steps = [{"name": "roll", "shift_range": 7}, {"name": "mixup", "alpha": 0.3}, {"name": "spec_augment", "p": 0.5}]
    chain = Chain.build(steps, audio=False)
    torch.manual_seed(1)
    x, mix = chain.features(clips)
    torch.manual_seed(1)
    rolled = roll(clips, 7)
    expected = mixup_draw(len(clips), 0.3)
    assert torch.equal(x, spec_augment(mixup(rolled, *expected), p=0.5))
    assert all(torch.equal(one, other) for one, other in zip(mix, expected, strict=True))
    assert chain.mixes
    assert Chain().features(clips) == (clips, None)


def test_a_chain_of_waveforms_and_features(audio):
    chain = Chain.build([{"name": "polarity", "p": 1.0}, {"name": "gain"}, {"name": "roll"}], audio=True)
    assert [name for name, _ in chain.before] == ["polarity", "gain"]
    assert [name for name, _ in chain.after] == ["roll"]
    assert torch.equal(Chain.build([{"name": "polarity", "p": 1}], audio=True).waveforms(audio), -audio)


@pytest.mark.parametrize(
    ("steps", "audio", "message"),
    [
        (
            [{"name": "rol"}],
            False,
            "unknown augmentation 'rol'; did you mean roll.*gain, polarity, noise, .*roll, mixup",
        ),
        ([{"shift_range": 3}], False, "unknown augmentation None"),
        ([{"name": "roll", "shift": 3}], False, "unknown parameter of roll 'shift'.*shift_range"),
        ([{"name": "roll", "shift_range": "far"}], False, "shift_range='far' is no number"),
        ([{"name": "drop_bands", "share": 1.5}], False, "share=1.5: expected a share from 0 to 1"),
        ([{"name": "roll", "shift_range": 1.5}], False, r"shift_range=1\.5: expected a whole number"),
        ([{"name": "spec_augment", "p": 2}], False, "p=2: expected a share"),
        ([{"name": "mixup", "alpha": 0}], False, "alpha=0: expected a number above 0"),
        ([{"name": "mixup"}], False, "mixup: alpha is needed"),
        ([{"name": "mixup", "alpha": 1}, {"name": "mixup", "alpha": 1}], False, "give it once"),
        ([{"name": "gain"}], False, "gain changes waveforms, and the input is stored features"),
        ([{"name": "roll"}, {"name": "gain"}], True, "gain changes waveforms: put it before roll"),
        ([{"name": "gain", "low": 3, "high": 1}], True, "low=3 is above high=1"),
        ([{"name": "gain", "step": -1}], True, "step=-1: expected a number above 0"),
        ([{"name": "reverb", "high": 101}], True, "reverb: high=101: expected percent, at most 100"),
        ([{"name": "high_low_pass", "lowpass_low": 0}], True, "lowpass_low=0 .*above 0 and up to 4000 Hz"),
        ([{"name": "high_low_pass", "highpass_high": 100.0}], True, "highpass_low=200 and highpass_high=100 Hz"),
        ([{"name": "high_low_pass", "lowpass_high": 4001.0}], True, "lowpass_high=4001 .*half the sample rate"),
    ],
)
def test_steps_that_cannot_be_are_refused(steps, audio, message):
    with pytest.raises(ValueError, match=message):
        Chain.build(steps, audio, 8_000)


def test_steps_get_the_sample_rate_and_it_is_no_setting(monkeypatch, audio):
    monkeypatch.setitem(WAVEFORMS, "rated", lambda x, sample_rate, factor=2.0: x * sample_rate * factor)
    chain = Chain.build([{"name": "rated", "factor": 3}, {"name": "polarity", "p": 0}], audio=True, sample_rate=100)
    assert torch.equal(chain.waveforms(audio), audio * 100 * 3)
    with pytest.raises(ValueError, match=r"rated needs the sample rate of the audio"):
        Chain.build([{"name": "rated"}], audio=True)
    with pytest.raises(ValueError, match=r"unknown parameter of rated 'sample_rate'.*Valid: factor"):
        Chain.build([{"name": "rated", "sample_rate": 5}], audio=True, sample_rate=100)


def test_names_are_of_one_kind():
    assert not set(WAVEFORMS) & set(FEATURES)
