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
from torch.nn import functional as F

from models.frontends.base import FrontEnd, full_precision

SAMPLE_RATE = 16_000
FFT_SIZE = 512
HOP = 256
BANDS = 96
GAIN = 10_000.0
# Low bands need few of the 257 bins: multiplied in three groups, the filter matrix costs half of what it does as one.
BAND_GROUPS = ((0, 48), (48, 72), (72, 96))
# Over the Discogs training set of MAEST, in log10 units.
MEAN = 2.06755686098554
STD = 1.268292820667291

Variant = Literal["essentia", "torch"]
VARIANTS: dict[str, dict[str, Any]] = {
    "essentia": {"window": "hann, symmetric", "padding": "zeros", "frames": "ceil(samples / hop) + 1"},
    "torch": {"window": "hann, periodic", "padding": "reflect", "frames": "floor(samples / hop) + 1"},
}


def hz_to_mel(hz: float) -> float:
    """Slaney's mel scale: linear below 1 kHz, logarithmic above (Auditory Toolbox, 1998)."""
    return 3 * hz / 200 if hz < 1000 else 15 + math.log(hz / 1000) * 27 / math.log(6.4)


def mel_to_hz(mel: Tensor) -> Tensor:
    """Inverse of `hz_to_mel`, elementwise."""
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))


def mel_filters() -> Tensor:
    """Triangles with slopes linear in Hz, each divided by its theoretical area.

    Returns:
        [257, 96] float32 weights from power-spectrum bins to bands.
    """
    edges = mel_to_hz(torch.linspace(0, hz_to_mel(SAMPLE_RATE / 2), BANDS + 2, dtype=torch.float64))
    bins = torch.linspace(0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1, dtype=torch.float64)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = torch.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clamp(min=0)
    return (triangles / ((high - low) / 2)).float()


def _support(filters: Tensor) -> tuple[int, int]:
    """First bin that any of the filters uses, and the one behind the last."""
    bins = filters.sum(1).nonzero().flatten()
    return int(bins[0]), int(bins[-1]) + 1


class MusiCNNMel(FrontEnd, name="musicnn"):
    """Log-mel spectrogram of 16 kHz mono audio; no parameters, nothing in the state dict.

    Args:
        variant: `essentia` (training data, TensorFlow and ONNX graphs) or `torch` (PyTorch release); see the module.

    Attributes:
        sample_rate, frame_rate: Hz. hop: Samples between frames. n_bands: Bands per frame.
        units: Of the output, un-normalised.
        mean, std: Statistics of the training set; `normalise` maps x to (x - mean) / (2 std).

    Raises:
        ValueError: Unknown variant.
    """

    sample_rate = SAMPLE_RATE
    hop = HOP
    context = FFT_SIZE // 2
    item_shape = (BANDS,)
    n_bands = BANDS
    units = "log10(1 + 10000 mel)"
    mean = MEAN
    std = STD

    def __init__(self, variant: Variant = "essentia") -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant={variant!r}: a MusiCNN front end is one of {sorted(VARIANTS)}")
        self.variant = variant
        window = torch.hann_window(FFT_SIZE, periodic=variant == "torch", dtype=torch.float64).float()
        self.register_buffer("window", window, persistent=False)
        filters = mel_filters()
        self.register_buffer("filters", filters, persistent=False)
        self._groups = [(*_support(filters[:, low:high]), low, high) for low, high in BAND_GROUPS]

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

    @property
    def min_samples(self) -> int:
        """Shortest audio the variant is defined for: reflecting half a frame takes one sample more than it."""
        return FFT_SIZE // 2 + 1 if self.variant == "torch" else 1

    def n_frames(self, samples: int) -> int:
        """Number of frames made from that many samples."""
        return samples // HOP + 1 if self.variant == "torch" else -(-samples // HOP) + 1

    def n_samples(self, frames: int) -> int:
        """Smallest number of samples that makes that many frames."""
        extra = 1 if self.variant == "torch" else 2
        return max((frames - extra) * HOP + (extra == 2), self.min_samples)

    def forward(self, audio: Tensor) -> Tensor:
        """Compute the un-normalised log-mel.

        Args:
            audio: [..., samples] float32, 16 kHz mono, full scale 1. NaN and Inf pass into the frames that hold them.

        Returns:
            [..., frames, 96] float32, at least 0; frame i is centred on sample 256 i.

        Raises:
            TypeError: The samples are not float32.
            ValueError: No samples, fewer than `min_samples`, or the module itself was cast to another type.
        """
        self.check(audio)
        with full_precision(audio.device):
            frames = self._pad(audio).unfold(-1, FFT_SIZE, HOP) * self.window
            spectrum = torch.fft.rfft(frames)
            power = spectrum.real.square() + spectrum.imag.square()
            bands = [power[..., i:j] @ self.filters[i:j, low:high] for i, j, low, high in self._groups]
            return torch.log10(1 + GAIN * torch.cat(bands, -1))

    def _pad(self, audio: Tensor) -> Tensor:
        half, samples = FFT_SIZE // 2, audio.shape[-1]
        if self.variant == "torch":
            return F.pad(audio.reshape(-1, samples), (half, half), mode="reflect").reshape(*audio.shape[:-1], -1)
        return F.pad(audio, (half, half + (-samples) % HOP))

    def check(self, audio: Tensor) -> None:
        """As every front end, and refuse to compute in another type than float32."""
        super().check(audio)
        if self.window.dtype != torch.float32:
            raise ValueError(
                f"the front end was cast to {self.window.dtype}: it computes in float32; cast the network only"
            )
