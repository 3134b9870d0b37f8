"""Onset strength: how much louder the bands of a mel spectrogram become from one frame to the next.

The spectral flux of Böck and Widmer, "Maximum filter vibrato suppression for onset detection", DAFx 2013, without the
maximum filter, with the numbers of librosa's `onset_strength`, which it equals.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.arguments import Positive
from models.frontends.mel import MatrixMel, MelFrontEnd, decibels, hann, mel_filters

RANGE = 80.0  # dB below the loudest cell of a recording: what is softer counts as this


def onset_strength(levels: Tensor, shift: int = 3) -> Tensor:
    """Rises of the level from frame to frame, mean over bands.

    Args:
        levels: dB, `[..., frames, bands]`, of a whole recording or excerpt: levels more than 80 dB below the loudest
            count as 80 dB below.
        shift: Frames that come first, with the value 0. The rise between two frames is put where the later one ends, so
            that it does not come before the sound.

    Returns:
        `[..., frames]`, dB a frame, at least 0.
    """
    loudest = levels.amax((-2, -1), keepdim=True)
    levels = torch.maximum(levels, loudest - RANGE)
    rises = (levels[..., 1:, :] - levels[..., :-1, :]).relu_().mean(-1)
    return F.pad(rises, (shift, 0))[..., : levels.shape[-2]]


class Settling(nn.Module):
    """`onset_strength` as a module."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, levels: Tensor) -> Tensor:
        """`[..., frames, bands]` to `[..., frames]`."""
        return onset_strength(levels, self.shift)


class OnsetStrength(MelFrontEnd, name="onset"):
    """The onset strength envelope, one value a frame.

    Levels are limited to 80 dB below the loudest cell of what is given as a whole: of a file the file, also where it is
    transformed in pieces, of a window of audio the window. A change of gain moves nothing.

    Args:
        sample_rate: Hz.
        n_fft: Samples of a frame.
        hop: Samples from one frame to the next.
        bands: Slaney bands up to half of the sample rate.
    """

    units = "dB a frame"
    fill = 0.0
    of_recording = True
    reflect = False

    def __init__(
        self, sample_rate: Positive = 22_050, n_fft: Positive = 2048, hop: Positive = 512, bands: Positive = 128
    ) -> None:
        super().__init__(hann(n_fft), mel_filters(sample_rate, n_fft, bands, scale="slaney", norm="area"))
        self.sample_rate, self.hop, self.item_shape = sample_rate, hop, ()
        self.shift = 1 + n_fft // (2 * hop)

    def compress(self, mel: Tensor) -> Tensor:
        """Energies to dB."""
        return decibels(mel)

    def local(self, audio: Tensor) -> Tensor:
        """Levels of the bands in dB, `[..., frames, bands]`."""
        return super().forward(audio)

    def settle(self, frames: Tensor) -> Tensor:
        """Levels of a whole recording to its envelope."""
        return onset_strength(frames, self.shift)

    def forward(self, audio: Tensor) -> Tensor:
        """The envelope.

        Args:
            audio: `[..., samples]` float32, mono, full scale 1.

        Returns:
            `[..., frames]` float32, at least 0; frame i belongs to sample `hop * i`.

        Raises:
            TypeError: The samples are not float32.
            ValueError: No samples, or the module itself was cast to another type.
        """
        return self.settle(self.local(audio))

    def exportable(self) -> nn.Module:
        """As products with the basis of the Fourier transform."""
        return nn.Sequential(self.exportable_local(), Settling(self.shift))

    def exportable_local(self) -> nn.Module:
        """Levels of the bands, likewise."""
        return MatrixMel(self)
