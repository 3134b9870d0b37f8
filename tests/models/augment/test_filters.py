"""High-pass and low-pass beside their definition in float64, convolved sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.augment import filters
from models.augment.filters import filtered, high_low_pass

RATE = 22_050
LOW, HIGH = torch.tensor([False]), torch.tensor([True])


def low_passed(x: np.ndarray, ratio: float) -> np.ndarray:
    """The definition: eight zero crossings of a sinc under a Hann window, of sum 1, over edges that go on."""
    half = int(8 / (2 * ratio))
    time = np.arange(-half, half + 1)
    kernel = np.hanning(2 * half + 1) * np.sinc(2 * ratio * time)
    return np.convolve(np.pad(x, half, mode="edge"), kernel / kernel.sum(), mode="valid")


def test_each_example_has_the_filter_of_its_own_cutoff():
    torch.manual_seed(0)
    x = torch.rand(8, 9000) - 0.3
    cutoffs = torch.tensor([200.0, 201.3, 700, 1200, 2200, 2756.25, 3999, 4000], dtype=torch.float64)
    high = torch.tensor([True, True, False, True, False, False, True, False])
    changed = filtered(x, cutoffs / RATE, high)
    assert changed.dtype == torch.float32
    for row, cutoff in enumerate(cutoffs.tolist()):
        audio = x[row].double().numpy()
        low = low_passed(audio, cutoff / RATE)
        expected = audio - low if high[row] else low
        assert np.abs(changed[row].numpy() - expected).max() < 3e-6


@given(st.floats(0.005, 0.5), st.floats(0.005, 0.5), st.integers(1, 3000))
def test_high_and_low_are_the_whole_and_do_not_depend_on_who_else_is_there(ratio, other, samples):
    x = torch.rand(2, samples, generator=torch.Generator().manual_seed(0)) - 0.5
    ratios = torch.tensor([ratio, other], dtype=torch.float64)
    low, high = filtered(x, ratios, LOW.expand(2)), filtered(x, ratios, HIGH.expand(2))
    assert torch.allclose(low + high, x, atol=1e-6)
    assert torch.allclose(filtered(x[:1], ratios[:1], LOW), low[:1], atol=2e-6)


def test_a_constant_is_low():
    constant = torch.full((2, 5000), 0.7)
    ratios = torch.tensor([0.01, 0.2], dtype=torch.float64)
    assert torch.allclose(filtered(constant, ratios, LOW.expand(2)), constant, atol=2e-6)
    assert filtered(constant, ratios, HIGH.expand(2)).abs().max() < 2e-6


def test_tones_beyond_the_cutoff_are_taken_away():
    time = torch.arange(20_000) / RATE
    tones = torch.stack([torch.sin(2 * torch.pi * frequency * time) for frequency in (100, 500, 3500)])
    cutoffs = torch.full((3,), 1200 / RATE, dtype=torch.float64)
    level = filtered(tones, cutoffs, LOW.expand(3))[:, 2000:-2000].std(1) / tones.std(1)
    assert level.tolist() == pytest.approx([1, 1, 0], abs=0.01)


def test_cutoffs_over_many_draws(monkeypatch):
    seen = []
    monkeypatch.setattr(filters, "filtered", lambda x, ratios, high: seen.append((ratios * RATE, high)) or x)
    torch.manual_seed(0)
    high_low_pass(torch.zeros(10_000, 1), RATE)
    cutoffs, high = seen[0]
    assert len(cutoffs) == pytest.approx(8000, abs=150)
    assert float(high.float().mean()) == pytest.approx(0.5, abs=0.02)
    for drawn, least, most in ((cutoffs[high], 200, 1200), (cutoffs[~high], 2200, 4000)):
        assert least - 1e-3 <= float(drawn.min()) < least + 5
        assert most - 5 < float(drawn.max()) <= most + 1e-3
