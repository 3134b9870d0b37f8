"""Tempo of an onset envelope without a network: the strongest lag of its autocorrelation, under a prior.

As librosa's `feature.tempo` has it, after Ellis, "Beat tracking by dynamic programming", Journal of New Music Research
2007: the mean tempogram, its logarithm, and a log-normal prior around 120 BPM.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.tempogram import tempogram

SECONDS = 8.0  # of the tempogram's window
FASTEST = 320.0  # BPM
SHARPNESS = 1e6  # of the logarithm of autocorrelations


def envelope_tempo(
    envelope: Tensor, rate: float, centre: float = 120.0, octaves: float = 1.0, interpolated: bool = False
) -> Tensor:
    """The tempo of recordings.

    Args:
        envelope: Onset strength, `[..., frames]`.
        rate: Frames a second.
        centre: BPM that the prior favours.
        octaves: Its deviation.
        interpolated: Take the top of a parabola through the strongest lag and its neighbours; lags alone are several
            per cent apart in fast music.

    Returns:
        BPM `[...]` float64; NaN of an envelope without an onset.
    """
    window = _even(SECONDS * rate)
    mean = tempogram(envelope, window).double().mean(-1)
    bpm = 60 * rate / torch.arange(1, window, dtype=torch.float64, device=envelope.device)
    prior = -0.5 * ((bpm.log2() - math.log2(centre)) / octaves) ** 2
    scores = torch.log1p(SHARPNESS * mean[..., 1:]) + torch.where(bpm < FASTEST, prior, -torch.inf)
    lag = scores.argmax(-1, keepdim=True) + 1
    offset = _top(mean, lag) if interpolated else 0.0
    tempo = (60 * rate / (lag.double() + offset))[..., 0]
    return torch.where(mean[..., 0] > 0, tempo, torch.nan)


def _even(frames: float) -> int:
    return int(frames) // 2 * 2


def _top(mean: Tensor, lag: Tensor) -> Tensor:
    """How far the top of the parabola is from the lag, lags; 0 where there is none within a lag.

    The prior may have chosen the lower of two neighbours between which the top lies.
    """
    before, at, behind = (mean.gather(-1, (lag + step).clamp(max=mean.shape[-1] - 1)) for step in (-1, 0, 1))
    bend = before - 2 * at + behind
    offset = 0.5 * (before - behind) / torch.where(bend < 0, bend, -1.0)
    return torch.where((bend < 0) & (offset.abs() <= 1), offset, 0.0)
