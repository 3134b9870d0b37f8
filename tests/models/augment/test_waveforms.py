"""Level, polarity, noise and delay do what they are defined to do, to each example on its own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.augment import WAVEFORMS, Chain
from models.augment.waveforms import amplify, delay, echo, gain, noise

ALL = [{"name": name, "p": 0.7} for name in WAVEFORMS]
RATE = 22_050


def test_levels_over_many_draws():
    torch.manual_seed(0)
    loud = torch.full((10_000, 2), 0.9)
    decibels = 20 * torch.log10(gain(loud, p=1.0)[:, 0] / 0.9)
    assert -20.001 <= float(decibels.min()) < -19.9
    assert -1.1 < float(decibels.max()) <= -0.999
    whole = 20 * torch.log10(gain(loud, p=1.0, step=1)[:, 0].double() / 0.9)
    assert whole.round().unique().tolist() == list(range(-20, 0))
    assert torch.allclose(whole, whole.round(), atol=1e-5)


@given(st.floats(-60, 60), st.floats(-4, 4))
def test_no_level_leaves_the_full_scale(decibels, value):
    changed = amplify(torch.tensor([[value]]), torch.tensor([decibels]))
    assert float(changed) == pytest.approx(min(max(value * 10 ** (decibels / 20), -1), 1), rel=1e-5, abs=1e-9)


def test_noise_over_many_draws():
    torch.manual_seed(0)
    quiet = 1e-3 * torch.randn(10_000, 400)
    share = (noise(quiet, p=1.0) - quiet).std(1) / quiet.std(1)
    assert 0.8e-4 < float(share.min()) < 2e-4
    assert 0.9e-2 < float(share.max()) < 1.2e-2


def test_an_impulse_comes_back_once_at_half_the_level():
    torch.manual_seed(0)
    impulse = torch.zeros(10_000, 600)
    impulse[:, 3] = 1
    changed = delay(impulse, sample_rate=1000, p=1.0)
    assert (changed[:, 3] == 0.5).all()
    assert ((changed != 0).sum(1) == 2).all()
    assert changed.sum(1).eq(0.75).all()
    late = changed[:, 4:].argmax(1) + 1
    assert late.unique().tolist() == [200, 250, 300, 350, 400, 450]
    assert (delay(impulse, sample_rate=1000, p=1.0, factor=0.2)[:, 4:].amax(1) == 0.1).all()


@given(st.integers(1, 40), st.lists(st.integers(0, 60), min_size=1, max_size=5), st.sampled_from([0.2, 0.5]))
def test_echo_is_its_definition(samples, late, factor):
    x = torch.randn(len(late), samples, generator=torch.Generator().manual_seed(0))
    expected = x.double().clone()
    for row, count in enumerate(late):
        if count < samples:
            expected[row, count:] += factor * x[row, : samples - count].double()
    assert torch.allclose(echo(x, torch.tensor(late), factor).double(), expected / 2, atol=1e-6)


def test_delays_are_cut_to_whole_samples():
    impulse = torch.zeros(1, 6000)
    impulse[0, 0] = 1
    assert delay(impulse, RATE, low=250, high=250, p=1.0).nonzero()[:, 1].tolist() == [0, 5512]


def test_a_chain_of_all_steps_is_the_same_for_the_same_seed_and_leaves_its_input_alone():
    chain, x = Chain.build(ALL, audio=True, sample_rate=RATE), 0.3 * torch.randn(70, 3000)
    before, results = x.clone(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(chain.waveforms(x))
    assert torch.equal(results[0], results[1])
    assert (results[0] != results[2]).any(1).all()
    assert torch.equal(x, before)
    assert results[0].shape == x.shape
    assert results[0].dtype == torch.float32
    assert torch.isfinite(results[0]).all()


@pytest.mark.parametrize("shape", [(1, 59_049), (3, 2), (40, 700)], ids=str)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_silence_and_full_scale_give_finite_audio_of_any_length(shape, level):
    chain = Chain.build([{**step, "p": 1.0} for step in ALL], audio=True, sample_rate=RATE)
    changed = chain.waveforms(torch.full(shape, level))
    assert changed.shape == shape
    assert torch.isfinite(changed).all()
    if not level:
        assert not changed.any()


def test_a_damaged_example_stays_alone():
    chain = Chain.build([{**step, "p": 1.0} for step in ALL], audio=True, sample_rate=RATE)
    x = torch.randn(5, 2000)
    x[2, 100] = float("nan")
    assert torch.isfinite(chain.waveforms(x)).all(1).tolist() == [True, True, False, True, True]


def test_examples_of_a_large_batch_are_augmented_as_those_of_a_small_one():
    steps = [
        {"name": "gain", "low": -6, "high": -6, "p": 1},
        {"name": "delay", "low": 200, "high": 200, "p": 1},
        {"name": "reverb", "low": 40, "high": 40, "p": 1},
    ]
    chain, x = Chain.build(steps, audio=True, sample_rate=2000), torch.randn(75, 900)
    together = chain.waveforms(x)
    for row in (0, 33, 74):
        assert torch.equal(together[row : row + 1], chain.waveforms(x[row : row + 1]))
