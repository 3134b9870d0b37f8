"""Audio to log-mel: the MusiCNN front end that MAEST is trained on, in plain torch.

One definition serves offline extraction, on-device extraction and single-file inference. The default reproduces
Essentia's `TensorflowInputMusiCNN` (Pons & Serra 2019, "musicnn"; Alonso-Jiménez et al. 2023, "MAEST", section 3.1):
16 kHz mono, 512-sample frames every 256 samples, symmetric Hann window, power spectrum, 96 Slaney bands from 0 to
8 kHz of unit triangle area, `log10(1 + 10000 mel)`. The first frame is centred on sample 0, the last one is the first
whose centre is at or past the end, and what lies outside the signal is zero. Essentia's binary rounds its band edges to
single precision: equal within 1e-4 on broadband sound, off by up to 6e-4 where one loud tone meets the skirt of a band,
less than the rounding of a stored float16.

The variant `torch` is what MAEST's PyTorch release computes at inference: a periodic window, reflected edges and no
frame past the end. Inner frames differ by up to 0.06, edge frames by up to 1.9 (log10 units).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from models.frontends.mel import MelFrontEnd, hann, mel_filters

SAMPLE_RATE = 16_000
FFT_SIZE = 512
HOP = 256
BANDS = 96
GAIN = 10_000.0
# Over the Discogs training set of MAEST, in log10 units.
MEAN = 2.06755686098554
STD = 1.268292820667291

Variant = Literal["essentia", "torch"]
VARIANTS: dict[str, dict[str, Any]] = {
    "essentia": {"window": "hann, symmetric", "padding": "zeros", "frames": "ceil(samples / hop) + 1"},
    "torch": {"window": "hann, periodic", "padding": "reflect", "frames": "floor(samples / hop) + 1"},
}


class MusiCNNMel(MelFrontEnd, name="musicnn"):
    """Log-mel spectrogram of 16 kHz mono audio, `[..., frames, 96]`, at least 0.

    Args:
        variant: `essentia` (training data, TensorFlow and ONNX graphs) or `torch` (PyTorch release); see the module.

    Raises:
        ValueError: Unknown variant.
    """

    sample_rate = SAMPLE_RATE
    hop = HOP
    units = "log10(1 + 10000 mel)"
    mean = MEAN
    std = STD

    def __init__(self, variant: Variant = "essentia") -> None:
        if variant not in VARIANTS:
            raise ValueError(f"variant={variant!r}: a MusiCNN front end is one of {sorted(VARIANTS)}")
        filters = mel_filters(SAMPLE_RATE, FFT_SIZE, BANDS, scale="slaney", norm="area")
        super().__init__(hann(FFT_SIZE, periodic=variant == "torch"), filters)
        self.variant, self.reflect, self.past_end = variant, variant == "torch", variant == "essentia"

    @property
    def parameters_dict(self) -> dict[str, Any]:
        """Everything that shapes the (un-normalised) output, as plain JSON values."""
        return {
            "front_end": "MusiCNN log-mel",
            "sample_rate": SAMPLE_RATE,
            "fft_size": FFT_SIZE,
            "hop": HOP,
            "bands": BANDS,
            "low_hz": 0,
            "high_hz": SAMPLE_RATE // 2,
            "mel_scale": "slaney",
            "filter_norm": "triangle area",
            "spectrum": "power",
            "compression": self.units,
            **VARIANTS[self.variant],
        }

    def compress(self, mel: Tensor) -> Tensor:
        """Log of 1 + 10000 times the energies."""
        return torch.log10(1 + GAIN * mel)

    def compress_plainly(self, mel: Tensor) -> Tensor:
        """By the natural logarithm."""
        return torch.log(1 + GAIN * mel) * (1 / math.log(10))


class MusiCNNTorch(MusiCNNMel, name="musicnn_torch"):
    """The variant `torch` under a name of its own."""

    def __init__(self) -> None:
        super().__init__("torch")
