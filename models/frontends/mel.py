"""The pieces of mel front ends: scales, filters, framed power spectra, and the same as products for export.

The HTK scale is that of the HTK book (Young et al.), the Slaney scale that of the Auditory Toolbox (1998), as librosa
and torchaudio have them. Filters are computed in float64 and rounded once.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.frontends.base import FrontEnd, full_precision

Scale = Literal["htk", "slaney"]
Norm = Literal["none", "area"]


def hz_to_mel(hz: float, scale: Scale) -> float:
    """Mels of a frequency.

    Args:
        hz: At least 0.
        scale: "htk": `2595 log10(1 + hz / 700)`; "slaney": linear below 1 kHz, logarithmic above.
    """
    if scale == "htk":
        return 2595 * math.log10(1 + hz / 700)
    return 3 * hz / 200 if hz < 1000 else 15 + math.log(hz / 1000) * 27 / math.log(6.4)


def mel_to_hz(mel: Tensor, scale: Scale) -> Tensor:
    """Inverse of `hz_to_mel`, elementwise."""
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))


def mel_filters(
    sample_rate: int,
    n_fft: int,
    bands: int,
    *,
    low: float = 0.0,
    high: float | None = None,
    scale: Scale,
    norm: Norm,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Triangles with slopes linear in Hz, whose corners are equally spaced in mels.

    Args:
        sample_rate: Hz.
        n_fft: Samples of a frame.
        bands: Number of triangles.
        low: Hz where the first one begins.
        high: Hz where the last one ends; None for half of the sample rate.
        scale: See `hz_to_mel`.
        norm: "none": peaks of 1; "area": each divided by its theoretical area in Hz (librosa's and torchaudio's
            "slaney").
        dtype: Of the computation. torchaudio's is float32, whose roundings published networks were trained with: up to
            1.4e-5 of a weight, and 1e-4 of a score.

    Returns:
        `[n_fft // 2 + 1, bands]` float32 weights from bins of the power spectrum to bands.

    Raises:
        ValueError: Frequencies in another order than `0 <= low < high <= sample_rate / 2`, or no band.
    """
    high = sample_rate / 2 if high is None else high
    if not 0 <= low < high <= sample_rate / 2 or bands < 1:
        raise ValueError(
            f"{bands} bands from {low:g} to {high:g} Hz at {sample_rate} Hz: expected at least one band, and "
            f"frequencies of 0 <= low < high <= {sample_rate / 2:g}"
        )
    ends = hz_to_mel(low, scale), hz_to_mel(high, scale)
    edges = mel_to_hz(torch.linspace(*ends, bands + 2, dtype=dtype), scale)
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=dtype)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    triangles = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)
    return (triangles / ((right - left) / 2) if norm == "area" else triangles).float()


def hann(length: int, periodic: bool = True) -> Tensor:
    """Hann window `[length]` float32, computed in float64."""
    return torch.hann_window(length, periodic=periodic, dtype=torch.float64).float()


def decibels(power: Tensor, floor: float = 1e-10) -> Tensor:
    """`10 log10(max(power, floor))`, elementwise."""
    return 10 * torch.log10(power.clamp(min=floor))


def pad_ends(audio: Tensor, before: int, after: int, reflect: bool) -> Tensor:
    """Audio `[..., samples]` continued at both ends, mirrored without the outermost sample or with zeros."""
    if not reflect:
        return F.pad(audio, (before, after))
    rows = F.pad(audio.reshape(-1, audio.shape[-1]), (before, after), mode="reflect")
    return rows.reshape(*audio.shape[:-1], -1)


def power_spectrum(frames: Tensor) -> Tensor:
    """Windowed frames `[..., n_fft]` to `[..., n_fft // 2 + 1]`."""
    spectrum = torch.fft.rfft(frames)
    return spectrum.real.square() + spectrum.imag.square()


class SpectralFrontEnd(FrontEnd):
    """Power spectra of windowed frames, summed to bands, compressed.

    A subclass sets `sample_rate`, `hop` and what else a front end has, and defines `filters`, `forward` and `compress`.
    Frame n is centred on sample `n * hop`.

    Args:
        window: `[n_fft]` float32; a shorter one is padded with zeros to n_fft by the subclass.

    Attributes:
        filters: `[n_fft // 2 + 1, bands]` float32 weights from bins of the power spectrum to bands.
        magnitudes: Whether magnitudes are summed to bands; else powers.
        reflect: Whether the audio is mirrored at its ends; else it continues with zeros.
        past_end: Whether the last frame is the first whose centre is at or past the end of the audio; else it is the
            last one whose centre is at or before the end.
    """

    filters: Tensor
    magnitudes: bool = False
    reflect: bool = True
    past_end: bool = False

    def __init__(self, window: Tensor) -> None:
        super().__init__()
        self.n_fft, self.context = len(window), len(window) // 2
        self.register_buffer("window", window, persistent=False)

    def compress(self, mel: Tensor) -> Tensor:
        """Energies of bands to the output, elementwise."""
        raise NotImplementedError

    def compress_plainly(self, mel: Tensor) -> Tensor:
        """The same of operations that every runtime has."""
        return self.compress(mel)

    @property
    def fill(self) -> float:
        """Of silence: bands without energy, compressed."""
        return float(self.compress(torch.zeros(1)))

    @property
    def min_samples(self) -> int:
        """Shortest audio it is defined for: mirroring so many samples takes one more than them."""
        most = self.n_fft // 2 + (self.hop - 1 if self.past_end else 0)
        return most + 1 if self.reflect else 1

    def n_frames(self, samples: int) -> int:
        """Number of frames made from that many samples."""
        return -(-samples // self.hop) + 1 if self.past_end else samples // self.hop + 1

    def n_samples(self, frames: int) -> int:
        """Smallest number of samples that makes that many frames."""
        least = (frames - 2) * self.hop + 1 if self.past_end else (frames - 1) * self.hop
        return max(least, self.min_samples)

    def spectrum(self, audio: Tensor) -> Tensor:
        """Powers, or magnitudes, `[..., frames, n_fft // 2 + 1]` of audio `[..., samples]`."""
        half, rest = self.n_fft // 2, (-audio.shape[-1]) % self.hop if self.past_end else 0
        padded = pad_ends(audio, half, half + rest, self.reflect)
        power = power_spectrum(padded.unfold(-1, self.n_fft, self.hop) * self.window)
        return power.sqrt() if self.magnitudes else power

    def check(self, audio: Tensor) -> None:
        """As every front end, and refuse to compute in another type than float32."""
        super().check(audio)
        if self.window.dtype != torch.float32:
            raise ValueError(
                f"the front end was cast to {self.window.dtype}: it computes in float32; cast the network only"
            )

    def exportable(self) -> nn.Module:
        """As products with the basis of the Fourier transform."""
        return MatrixMel(self)


class MelFrontEnd(SpectralFrontEnd):
    """Bands that stay as they are: no parameters, nothing in the state dict.

    A subclass builds window and filters in its constructor.

    Args:
        window: See `SpectralFrontEnd`.
        filters: `[n_fft // 2 + 1, bands]` float32.
    """

    def __init__(self, window: Tensor, filters: Tensor) -> None:
        super().__init__(window)
        self.n_bands = filters.shape[1]
        self.item_shape = (self.n_bands,)
        self.register_buffer("filters", filters, persistent=False)
        # Low bands need few of the bins: multiplied in three groups, the filters cost half of what they do as one.
        ends = (0, self.n_bands // 2, 3 * self.n_bands // 4, self.n_bands)
        groups = [(low, high) for low, high in pairwise(ends) if low < high]
        self._groups = [(*_support(filters[:, low:high]), low, high) for low, high in groups]

    def forward(self, audio: Tensor) -> Tensor:
        """The un-normalised output.

        Args:
            audio: `[..., samples]` float32, mono, full scale 1. NaN and Inf pass into the frames that hold them.

        Returns:
            `[..., frames, bands]` float32; frame i is centred on sample `hop * i`.

        Raises:
            TypeError: The samples are not float32.
            ValueError: No samples, fewer than `min_samples`, or the module itself was cast to another type.
        """
        self.check(audio)
        with full_precision(audio.device):
            spectrum = self.spectrum(audio)
            bands = [spectrum[..., i:j] @ self.filters[i:j, low:high] for i, j, low, high in self._groups]
            return self.compress(torch.cat(bands, -1))


class MatrixMel(nn.Module):
    """A spectral front end of matrix products alone: `[B, samples]` to `[B, frames, bands]`, equal up to rounding.

    Args:
        frontend: What it computes.
        whole: Compute all of its frames; otherwise those alone that do not reach past the end of the audio, whose
            samples must then be a multiple of the hop.
    """

    def __init__(self, frontend: SpectralFrontEnd, whole: bool = True) -> None:
        super().__init__()
        self.n_fft, self.hop, self.reflect, self.whole = frontend.n_fft, frontend.hop, frontend.reflect, whole
        self.past_end, self.compress = frontend.past_end and whole, frontend.compress_plainly
        self.magnitudes = frontend.magnitudes
        used = frontend.filters.sum(1).nonzero().flatten()
        angles = torch.outer(torch.arange(self.n_fft, dtype=torch.float64), used.double()) * (2 * math.pi / self.n_fft)
        basis = torch.cat([angles.cos(), angles.sin()], 1) * frontend.window.double()[:, None]
        self.register_buffer("basis", basis.float(), persistent=False)
        self.register_buffer("filters", frontend.filters[used].clone(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Float32 mono at the front end's rate."""
        real, imaginary = self._project(self._padded(audio)).chunk(2, -1)
        power = real * real + imaginary * imaginary
        return self.compress((power.sqrt() if self.magnitudes else power) @ self.filters)

    def _padded(self, audio: Tensor) -> Tensor:
        half = self.n_fft // 2
        before = audio[:, 1 : half + 1].flip(1) if self.reflect else torch.zeros_like(audio[:, :1]).expand(-1, half)
        if not self.whole:
            return torch.cat([before, audio], 1)
        rest = (-audio.shape[1]) % self.hop if self.past_end else 0
        after = torch.zeros_like(audio[:, :1]).expand(-1, half + rest)
        if self.reflect:
            after = audio[:, -half - rest - 1 : -1].flip(1)
        return torch.cat([before, audio, after], 1)

    def _project(self, padded: Tensor) -> Tensor:
        """Frames times the basis, `[B, frames, 2 bins]`."""
        if self.n_fft % self.hop:
            return F.conv1d(padded[:, None], self.basis.t()[:, None], stride=self.hop).transpose(1, 2)
        hops = self.n_fft // self.hop
        blocks = padded[:, : padded.shape[1] // self.hop * self.hop].unflatten(1, (-1, self.hop))
        frames = blocks.shape[1] - hops + 1
        return torch.cat([blocks[:, first : first + frames] for first in range(hops)], 2) @ self.basis


def _support(filters: Tensor) -> tuple[int, int]:
    """First bin that any of the filters uses, and the one behind the last."""
    bins = filters.sum(1).nonzero().flatten()
    return (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 1)
