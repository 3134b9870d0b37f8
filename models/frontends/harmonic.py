"""Harmonic filters: for every note the levels at its multiples, with a bandwidth that is learned.

Won, Chun, Nieto and Serra, "Data-driven harmonic filters for audio representation learning", ICASSP 2020. Window and
filters are computed in float32 and in the order of their code, because published networks know only its roundings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.frontends.base import full_precision
from models.frontends.mel import MatrixMel, SpectralFrontEnd, decibels

LOWEST = 24  # MIDI number of C1, 32.7 Hz
SLOPE, WIDTH = 0.1079, 24.7  # of a filter at f Hz: bandwidth SLOPE * f + WIDTH Hz, divided by Q


def notes(sample_rate: int, harmonics: int, semitone_scale: int) -> list[float]:
    """Frequencies in Hz from C1 up, below the note that is nearest to `sample_rate / (2 harmonics)`.

    Args:
        sample_rate: Hz.
        harmonics: Of each note, the first being the note itself.
        semitone_scale: Notes to a semitone.

    Raises:
        ValueError: There is none.
    """
    if min(sample_rate, harmonics, semitone_scale) < 1:
        raise ValueError(
            f"sample_rate={sample_rate}, harmonics={harmonics}, semitone_scale={semitone_scale}: expected at least 1"
        )
    above = round(69 + 12 * math.log2(sample_rate / (2 * harmonics) / 440))
    if above <= LOWEST:
        raise ValueError(
            f"sample_rate={sample_rate}, harmonics={harmonics}: no note from C1 up has so many harmonics below "
            f"{sample_rate / 2:g} Hz; take fewer harmonics"
        )
    numbers = (LOWEST + step / semitone_scale for step in range((above - LOWEST) * semitone_scale))
    return [440 * 2 ** ((number - 69) / 12) for number in numbers]


def raw_of(q: float) -> float:
    """The number whose softplus is `q`, for `q` above 0."""
    return q + math.log(-math.expm1(-q))


class HarmonicFilters(SpectralFrontEnd, name="harmonic"):
    """Level in dB of triangular filters at multiples of notes: frames of `[harmonics, notes]`.

    A filter with its centre at f Hz is `(0.1079 f + 24.7) / Q` Hz wide. Q is the softplus of the parameter `raw_q`, so
    that it stays above 0.

    Where filters are narrower than the bins are apart, low notes share bins, or have none: at 16 kHz 512 samples, as
    published, tell 41 of the 128 notes of the first harmonic apart. 1024 or 2048 samples tell more; `win_length` keeps
    the time resolution.

    Args:
        sample_rate: Hz.
        n_fft: Samples of a frame, zeros included.
        hop: Samples from one frame to the next.
        semitone_scale: Notes to a semitone.
        harmonics: Multiples of each note.
        q: Q at the beginning.
        learn_q: Whether Q is learned with the network.
        win_length: Samples of a frame that are not zeros; None for all.

    Raises:
        ValueError: Arguments that make no filters.
    """

    units = "dB"

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 512,
        hop: int = 256,
        semitone_scale: int = 2,
        harmonics: int = 6,
        q: float = 1.0,
        learn_q: bool = True,
        win_length: int | None = None,
    ) -> None:
        length = n_fft if win_length is None else win_length
        if not 1 <= length <= n_fft or hop < 1 or q <= 0:
            raise ValueError(
                f"n_fft={n_fft}, win_length={length}, hop={hop}, q={q:g}: expected 1 <= win_length <= n_fft, hop at "
                f"least 1 and q above 0"
            )
        before = (n_fft - length) // 2
        super().__init__(F.pad(torch.hann_window(length), (before, n_fft - length - before)))
        low = torch.tensor(notes(sample_rate, harmonics, semitone_scale), dtype=torch.float64)
        centres = torch.arange(1, harmonics + 1, dtype=torch.float64)[:, None] * low
        self.sample_rate, self.hop, self.item_shape = sample_rate, hop, (harmonics, len(low))
        self.register_buffer("centres", centres.flatten().float(), persistent=False)
        self.register_buffer("bins", torch.linspace(0, sample_rate / 2, n_fft // 2 + 1), persistent=False)
        raw = torch.tensor([raw_of(q)])
        if learn_q:
            self.raw_q = nn.Parameter(raw)
        else:
            self.register_buffer("raw_q", raw, persistent=False)

    @property
    def q(self) -> Tensor:
        """Q `[1]`."""
        return F.softplus(self.raw_q)

    @property
    def filters(self) -> Tensor:
        """Weights `[n_fft // 2 + 1, harmonics * notes]` from bins to filters, of the present Q."""
        widths = (SLOPE * self.centres + WIDTH) / self.q
        rise, at = self.bins[:, None] * (2 / widths), 2 * self.centres / widths
        return torch.minimum(1 - rise + at, rise + 1 - at).clamp(min=0)

    def compress(self, mel: Tensor) -> Tensor:
        """Energies to dB."""
        return decibels(mel)

    def forward(self, audio: Tensor) -> Tensor:
        """The un-normalised output.

        Args:
            audio: `[..., samples]` float32, mono, full scale 1.

        Returns:
            `[..., frames, harmonics, notes]` float32; frame i is centred on sample `hop * i`.

        Raises:
            TypeError: The samples are not float32.
            ValueError: Fewer than `min_samples`, or the module itself was cast to another type.
        """
        self.check(audio)
        with full_precision(audio.device):
            return self.compress(self.spectrum(audio) @ self.filters).unflatten(-1, self.item_shape)

    def exportable(self) -> nn.Module:
        """As products with the basis of the Fourier transform and with the present filters."""
        with torch.no_grad():
            return nn.Sequential(MatrixMel(self), nn.Unflatten(-1, self.item_shape))
