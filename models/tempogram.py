"""Tempogram: the autocorrelation of an onset envelope around every frame, in which periods of beats are peaks.

Grosche, Müller and Kurth, "Cyclic tempogram: a mid-level tempo representation for music signals", ICASSP 2010, with the
numbers of librosa's `feature.tempogram`, which it equals within 1e-6.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.frontends.base import full_precision
from models.frontends.mel import hann

WINDOW = 384  # frames, 8.9 s at 43 frames a second
BAND = (5, 129)  # lags of 517 to 20 BPM at 43 frames a second
PIECE = 2**13  # frames whose autocorrelations are computed at a time: bounds the memory of a long recording


def tempogram(envelope: Tensor, window: int = WINDOW, lags: tuple[int, int] | None = None) -> Tensor:
    """Autocorrelations of windows around every frame, lag 0 being 1.

    Args:
        envelope: Onset strength, `[..., frames]`. Before and behind it the window sees a ramp from the outermost value
            to 0.
        window: Frames, even; as many lags. They are tapered by a periodic Hann window.
        lags: First lag and the one behind the last; None for all, 0 to `window - 1`.

    Returns:
        `[..., lags, frames]` float32; a frame without any onset in its window is 0.

    Raises:
        ValueError: The window is odd, or there are no frames.
    """
    if window % 2 or not envelope.shape[-1]:
        raise ValueError(
            f"an envelope of shape {list(envelope.shape)} and a window of {window} frames: "
            f"expected at least one frame, and an even window"
        )
    with full_precision(envelope.device):
        pieces = _windows(envelope.float(), window).split(PIECE, -2)
        done = [_autocorrelation(piece, window)[..., slice(*lags or (None,))] for piece in pieces]
        return torch.cat(done, -2).transpose(-1, -2)


def _windows(envelope: Tensor, window: int) -> Tensor:
    """Tapered windows `[..., frames, window]`."""
    half, frames = window // 2, envelope.shape[-1]
    ramp = torch.arange(half, device=envelope.device) / half
    padded = torch.cat([envelope[..., :1] * ramp, envelope, envelope[..., -1:] * ramp.flip(0)], -1)
    return padded.unfold(-1, window, 1)[..., :frames, :] * hann(window).to(envelope.device)


def _autocorrelation(frames: Tensor, window: int) -> Tensor:
    """`[..., window]` to lags `[..., window]`, over that of lag 0."""
    spectrum = torch.fft.rfft(frames, n=2 * window)
    return _normalised(torch.fft.irfft(spectrum.real.square() + spectrum.imag.square(), n=2 * window)[..., :window])


def _normalised(lags: Tensor) -> Tensor:
    energy = lags[..., :1]
    return torch.where(energy > 0, lags / energy.clamp(min=torch.finfo(lags.dtype).tiny), torch.zeros_like(lags))


class Tempogram(nn.Module):
    """`tempogram` as a module without parameters.

    Where it is compiled, or traced to be written for other programs, the Fourier transform is two products.

    Args:
        window: Frames.
        lags: See `tempogram`.

    Attributes:
        bins: Lags.
    """

    def __init__(self, window: int = WINDOW, lags: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.window, self.lags = window, lags
        first, end = lags or (0, window)
        self.bins = end - first
        places, bins = torch.arange(window, dtype=torch.float64), torch.arange(window + 1, dtype=torch.float64)
        angles = torch.outer(places, bins) * (math.pi / window)
        shares = torch.full((window + 1,), 1 / window, dtype=torch.float64)
        shares[0] = shares[-1] = 0.5 / window  # of the bins in the energy
        self.register_buffer("basis", torch.cat([angles.cos(), angles.sin()], 1).float(), persistent=False)
        back = torch.cat([angles[:1], angles[first:end]]).cos().T * shares[:, None]
        self.register_buffer("back", back.float(), persistent=False)  # to lag 0, and to those that are wanted

    def forward(self, envelope: Tensor) -> Tensor:
        """`[..., frames]` to `[..., lags, frames]`."""
        return self.products(envelope) if torch.compiler.is_compiling() else tempogram(envelope, self.window, self.lags)

    def products(self, envelope: Tensor) -> Tensor:
        """The same, by matrix products alone."""
        with full_precision(envelope.device):
            cosines, sines = (_windows(envelope.float(), self.window) @ self.basis).chunk(2, -1)
            lags = (cosines * cosines + sines * sines) @ self.back
            return _normalised(lags)[..., 1:].transpose(-1, -2)
