"""High-pass and low-pass filters of a batch of audio, each example with a cutoff of its own.

The filters are windowed sincs, as in `julius`, whose `lowpass_filter` gives one cutoff to a whole batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from models.augment.draws import change, chosen, uniform
from models.transfer import send

ZEROS = 8  # crossings of zero that a sinc keeps on each side of its middle


def high_low_pass(
    x: Tensor,
    sample_rate: int,
    highpass_low: float = 200.0,
    highpass_high: float = 1200.0,
    lowpass_low: float = 2200.0,
    lowpass_high: float = 4000.0,
    p: float = 0.8,
) -> Tensor:
    """Filter every example by a high-pass or by a low-pass, whichever a coin says.

    Args:
        x: `[batch, samples]`.
        sample_rate: Hz.
        highpass_low: The lowest cutoff of a high-pass, Hz.
        highpass_high: The highest.
        lowpass_low: The lowest cutoff of a low-pass, Hz.
        lowpass_high: The highest.
        p: Share of the examples.

    Raises:
        ValueError: Cutoffs that are not in order, or not between 0 and half the sample rate.
    """
    for kind, low, high in (("highpass", highpass_low, highpass_high), ("lowpass", lowpass_low, lowpass_high)):
        if not 0 < low <= high <= sample_rate / 2:
            raise ValueError(
                f"high_low_pass: {kind}_low={low:g} and {kind}_high={high:g} Hz: expected frequencies in this order, "
                f"above 0 and up to {sample_rate / 2:g} Hz, half the sample rate"
            )
    highs, lows = uniform(x, highpass_low, highpass_high), uniform(x, lowpass_low, lowpass_high)
    high = chosen(x, 0.5)
    ratios = torch.where(high, highs, lows).double() / sample_rate
    return change(x, chosen(x, p), filtered, ratios, high)


def filtered(x: Tensor, ratios: Tensor, high: Tensor) -> Tensor:
    """Filter examples, whose first and last samples go on beyond their ends. A high-pass is what a low-pass leaves.

    Blocks of a signal are transformed together with the samples around them that the longest filter reaches. Short
    transforms stay in a processor's cache; one of the whole signal takes twice as long.

    Args:
        x: `[batch, samples]`.
        ratios: Cutoffs, shares of the sample rate up to a half, `[batch]`, float64.
        high: Which are high-passes, `[batch]` booleans.
    """
    kernels, high = low_pass_kernels(ratios, x.device), send(high, x.device)
    samples, half = x.shape[1], kernels.shape[1] // 2
    kernels = torch.where(high[:, None], -kernels, kernels)
    kernels[:, half] += high
    size = 1 << max(8 * half, 64).bit_length()
    hop = size - 2 * half
    blocks = -(-samples // hop)
    padded = F.pad(x[:, None], (half, half), mode="replicate")[:, 0]
    padded = F.pad(padded, (0, blocks * hop - samples))
    spectra = torch.fft.rfft(padded.unfold(1, size, hop))
    spectra *= torch.fft.rfft(kernels, n=size)[:, None]
    return torch.fft.irfft(spectra, n=size)[..., 2 * half :].flatten(1)[:, :samples]


def low_pass_kernels(ratios: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Sincs under a symmetric Hann window, of sum 1.

    Args:
        ratios: Cutoffs, shares of the sample rate, `[batch]`, float64.
        device: Where the result is wanted.

    Returns:
        `[batch, 2 * half + 1]`, float32, zero where a filter is shorter than the longest.
    """
    halves = (ZEROS / ratios / 2).floor()
    longest = int(halves.max())
    time = torch.arange(-longest, longest + 1, device=device)
    halves, ratios = (send(values.float(), device)[:, None] for values in (halves, ratios))
    window = (0.5 + 0.5 * torch.cos(math.pi * time / halves)).masked_fill(time.abs() > halves, 0.0)
    kernels = window * torch.sinc(2 * ratios * time)
    return kernels / kernels.sum(dim=1, keepdim=True)
