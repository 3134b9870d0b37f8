"""The front end of the library `musicnn` (Pons & Serra, "musicnn", ISMIR 2019 late-breaking): librosa's mel energies.

16 kHz mono, frames of 512 samples every 256, periodic Hann window, power spectrum, 96 Slaney bands of unit area, with
what lies outside of the signal taken as zero. The library rounds these energies to float16 before it takes their
logarithm, so a store, which has 16 bits, holds exactly what its networks were trained on. The logarithm is the
network's first step: rounding it instead would move scores by 1e-3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.frontends.base import full_precision
from models.frontends.mel import MelFrontEnd, hann, mel_filters, pad_ends, power_spectrum

LARGEST = torch.finfo(torch.float16).max


class MusiCNNOriginalMel(MelFrontEnd, name="musicnn_original"):
    """Energies of mel bands of 16 kHz mono audio, rounded to float16, `[..., frames, 96]` float32, at least 0."""

    sample_rate = 16_000
    hop = 256
    units = "energy, rounded to float16"
    reflect = False

    def __init__(self) -> None:
        super().__init__(hann(512), mel_filters(16_000, 512, 96, scale="slaney", norm="area"))

    def forward(self, audio: Tensor) -> Tensor:
        """As any mel front end, computed in float64 like librosa's: its last digit decides how an energy is rounded."""
        self.check(audio)
        half, window = self.n_fft // 2, torch.hann_window(self.n_fft, dtype=torch.float64, device=audio.device)
        with full_precision(audio.device):
            frames = pad_ends(audio.double(), half, half, self.reflect).unfold(-1, self.n_fft, self.hop)
            return self.compress((power_spectrum(frames * window) @ self.filters.double()).float())

    def compress(self, mel: Tensor) -> Tensor:
        """Rounded; what is over float16's range, far over full scale, to its largest value."""
        return mel.clamp(max=LARGEST).half().float()
