"""The benchmark of augmentations runs, and its reference does what ours does."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks import augmentation
from benchmarks import augmentation_reference as reference
from models.augment.filters import filtered
from models.augment.reverberation import reverberated
from models.augment.waveforms import echo

RATE = 22_050


@pytest.fixture(scope="module")
def crop() -> torch.Tensor:
    torch.manual_seed(0)
    return augmentation.music(1)[0, :9000]


def test_the_reference_filters_delays_and_reverberates_as_ours(crop):
    for cutoff, high in ((300.0, True), (3000.0, False)):
        ratio, which = torch.tensor([cutoff / RATE], dtype=torch.float64), torch.tensor([high])
        ours = filtered(crop[None], ratio, which)[0]
        assert torch.allclose(reference.pass_filter(crop, cutoff, RATE, high), ours, atol=1e-5)
    assert torch.allclose(reference.delay(crop, 250, RATE), echo(crop[None], torch.tensor([5512]), 0.5)[0])
    ours = reverberated(crop[None], *(torch.tensor([value]) for value in (70.0, 20.0, 40.0)), RATE)[0]
    assert torch.allclose(reference.reverb(crop, 70, 20, 40, RATE), ours, atol=1e-5)


@pytest.mark.parametrize("cents", [-700, 300])
def test_the_reference_shifts_pitch_and_keeps_the_length(cents):
    time = torch.arange(30_000) / RATE
    shifted = reference.pitch(torch.sin(2 * torch.pi * 1000 * time), cents, RATE)
    assert len(shifted) == len(time)
    spectrum = torch.fft.rfft(shifted[4000:20_384] * torch.hann_window(16_384)).abs()
    assert int(spectrum.argmax()) * RATE / 16_384 == pytest.approx(1000 * 2 ** (cents / 1200), rel=0.02)


def test_the_race_is_run_and_told(monkeypatch, capsys):
    words = ["--batch", "2", "--crops", "1", "--rounds", "1", "--steps"]
    monkeypatch.setattr(sys, "argv", ["augmentation", *words])
    threads = torch.get_num_threads()
    try:
        augmentation.main()
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    for name in (augmentation.OURS, augmentation.LOOPS, "high_low_pass", "pitch", "reverb"):
        assert name in printed
