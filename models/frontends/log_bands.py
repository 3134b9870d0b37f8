"""Bands a semitone apart: the front end of temporal convolutional networks for beats.

Böck and Davies, "Deconstruct, Analyse, Reconstruct: How to improve tempo, beat, and downbeat estimation", ISMIR 2020.
The centres of the triangles are bins of the Fourier transform, those nearest to the notes: where the notes are closer
than the bins, each bin counts once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.arguments import Positive
from models.frontends.mel import MelFrontEnd, hann

TUNING = 440.0  # Hz


def centres(sample_rate: int, n_fft: int, per_octave: int, low: float, high: float) -> list[int]:
    """Bins nearest to the notes from `low` to `high` Hz, each once, ascending; the upper one of two that are as near.

    Args:
        sample_rate: Hz.
        n_fft: Samples of a frame.
        per_octave: Notes of an octave; one of them is at 440 Hz.
        low: Hz of the lowest note at least.
        high: Hz of the highest note at most.
    """
    first, last = (math.log2(hz / TUNING) * per_octave for hz in (low, high))
    notes = (TUNING * 2 ** (note / per_octave) for note in range(math.ceil(first), math.floor(last) + 1))
    return sorted({min(math.floor(note * n_fft / sample_rate + 0.5), n_fft // 2 - 1) for note in notes})


def triangles(bins: list[int], n_bins: int) -> Tensor:
    """Filters of area 1 from each bin to the second next, with the peak at the one between.

    Args:
        bins: Ascending.
        n_bins: Of the spectrum.

    Returns:
        `[n_bins, len(bins) - 2]` float32.
    """
    at = torch.arange(n_bins, dtype=torch.float64)[:, None]
    left, peak, right = (torch.tensor(bins[first : len(bins) - 2 + first], dtype=torch.float64) for first in range(3))
    filters = torch.minimum((at - left) / (peak - left), (right - at) / (right - peak)).clamp(min=0)
    return (filters / filters.sum(0)).float()


class LogBands(MelFrontEnd, name="log_bands"):
    """Natural logarithm of the mean magnitude in bands of equal width in octaves.

    Args:
        sample_rate: Hz.
        n_fft: Samples of a frame.
        hop: Samples from one frame to the next.
        per_octave: Bands of an octave.
        low: Hz above which the bands begin.
        high: Hz below which they end.
        floor: Added to the magnitudes, of full scale 1, before the logarithm.

    Raises:
        ValueError: Arguments that make no bands.
    """

    units = "ln(magnitude)"
    magnitudes = True
    reflect = False
    mean, std = 0.0, 0.5  # the network sees the logarithms as they are: scaled down, its training does not take off

    def __init__(
        self,
        sample_rate: Positive = 44_100,
        n_fft: Positive = 2048,
        hop: Positive = 441,
        per_octave: Positive = 12,
        low: float = 30.0,
        high: float = 17_000.0,
        floor: float = 1e-6,
    ) -> None:
        if not 0 < low < high <= sample_rate / 2 or floor <= 0:
            raise ValueError(
                f"bands from {low:g} to {high:g} Hz at {sample_rate} Hz, floor={floor:g}: expected "
                f"0 < low < high <= {sample_rate / 2:g}, and a floor above 0"
            )
        bins = centres(sample_rate, n_fft, per_octave, low, high)
        if len(bins) < 3:
            raise ValueError(
                f"n_fft={n_fft}, low={low:g}, high={high:g}: no band between so few bins; take a larger n_fft"
            )
        super().__init__(hann(n_fft, periodic=False), triangles(bins, n_fft // 2 + 1))
        self.sample_rate, self.hop, self.floor = sample_rate, hop, floor

    def compress(self, mel: Tensor) -> Tensor:
        """Magnitudes to their logarithms."""
        return torch.log(mel + self.floor)
