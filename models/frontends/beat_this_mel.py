"""Mel bands as Beat This sees them (Foscarin, Schlüter and Widmer, ISMIR 2024).

Magnitudes of a Fourier transform divided by the root of its length, Slaney bands with peaks of 1, and a logarithm.
Window and bands are computed in float32, as torchaudio does, whose values the published networks know.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.arguments import Positive
from models.frontends.mel import MelFrontEnd, mel_filters


class BeatThisMel(MelFrontEnd, name="beat_this_mel"):
    """`ln(1 + factor * magnitude)` of mel bands.

    Args:
        sample_rate: Hz.
        n_fft: Samples of a frame.
        hop: Samples from one frame to the next.
        bands: Number of bands.
        low: Hz where the first band begins.
        high: Hz where the last band ends.
        factor: Of the magnitudes.
    """

    units = "ln(1 + factor * magnitude)"
    magnitudes = True

    def __init__(
        self,
        sample_rate: Positive = 22_050,
        n_fft: Positive = 1024,
        hop: Positive = 441,
        bands: Positive = 128,
        low: float = 30.0,
        high: float = 11_000.0,
        factor: float = 1000.0,
    ) -> None:
        spec = {"low": low, "high": high, "scale": "slaney", "norm": "none", "dtype": torch.float32}
        super().__init__(torch.hann_window(n_fft) / math.sqrt(n_fft), mel_filters(sample_rate, n_fft, bands, **spec))
        self.sample_rate, self.hop, self.factor = sample_rate, hop, factor

    def compress(self, mel: Tensor) -> Tensor:
        """Magnitudes to their logarithms."""
        return torch.log1p(self.factor * mel)

    def compress_plainly(self, mel: Tensor) -> Tensor:
        """With a logarithm that every runtime has."""
        return torch.log(1 + self.factor * mel)
