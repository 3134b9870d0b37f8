"""Mel bands of the magnitude spectrum, as they are: the front end of networks for tempo from mel bands.

Schreiber and Müller, "A single-step approach to musical tempo estimation using a convolutional neural network", ISMIR
2018, section 2: 40 bands from 20 to 5,000 Hz at 11,025 Hz. The networks scale each excerpt themselves.
"""

from __future__ import annotations

from torch import Tensor

from models.arguments import Positive
from models.frontends.mel import MelFrontEnd, Norm, Scale, hann, mel_filters


class MelMagnitude(MelFrontEnd, name="mel_magnitude"):
    """Magnitudes summed to mel bands, of full scale 1.

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

    units = "magnitude"
    magnitudes = True

    def __init__(
        self,
        sample_rate: Positive = 11_025,
        n_fft: Positive = 1024,
        hop: Positive = 512,
        bands: Positive = 40,
        low: float = 20.0,
        high: float | None = 5000.0,
        scale: Scale = "slaney",
        norm: Norm = "area",
    ) -> None:
        filters = mel_filters(sample_rate, n_fft, bands, low=low, high=high, scale=scale, norm=norm)
        super().__init__(hann(n_fft), filters)
        self.sample_rate, self.hop = sample_rate, hop

    def compress(self, mel: Tensor) -> Tensor:
        """As they are."""
        return mel
