"""Mel bands in dB: the front end of most convolutional taggers.

As Won et al., "Evaluation of CNN-based automatic music tagging models", SMC 2020, compute it with torchaudio: power
spectrum of centred frames, mirrored at the ends, HTK bands without normalisation, and `10 log10(max(x, 1e-10))`.
Window and bands are computed in float32 as there: in near-silent bands the last digit of a window decides about
decibels, and published networks know only its values. Slaney bands, with their window, are librosa's: computed in
float64 and rounded once, as the networks of PANNs know them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.arguments import Positive
from models.frontends.mel import MelFrontEnd, Norm, Scale, decibels, mel_filters


class MelDecibels(MelFrontEnd, name="mel_db"):
    """Level of mel bands, in dB of full-scale power.

    Args:
        sample_rate: Hz.
        n_fft: Samples of a frame.
        hop: Samples from one frame to the next.
        bands: Number of bands.
        low: Hz where the first band begins.
        high: Hz where the last band ends; None for half of the sample rate.
        scale: Of the bands, htk or slaney.
        norm: Of the bands: none for peaks of 1, or area.
    """

    units = "dB"

    def __init__(
        self,
        sample_rate: Positive = 16_000,
        n_fft: Positive = 512,
        hop: Positive = 256,
        bands: Positive = 96,
        low: float = 0.0,
        high: float | None = None,
        scale: Scale = "htk",
        norm: Norm = "none",
    ) -> None:
        dtype = torch.float32 if scale == "htk" else torch.float64
        filters = mel_filters(sample_rate, n_fft, bands, low=low, high=high, scale=scale, norm=norm, dtype=dtype)
        super().__init__(torch.hann_window(n_fft, dtype=dtype).float(), filters)
        self.sample_rate, self.hop = sample_rate, hop

    def compress(self, mel: Tensor) -> Tensor:
        """Energies to dB."""
        return decibels(mel)
