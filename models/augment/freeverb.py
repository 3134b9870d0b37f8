"""Freeverb as SoX's `reverb` has it: eight comb filters side by side, four allpass filters one behind the other, twice.

Facts of SoX 14.4.2: delays in samples at 44,100 Hz, of the left channel as they are, of the right one longer and
shorter in turn; levels; and how percent become coefficients. A recording of one channel gives two, and their mean is
taken. With `N` the samples of a delay, `f` the feedback and `d` the damping:

    comb      z^-N / (1 - f (1 - d) z^-N / (1 - d z^-1))
    allpass   (1.5 z^-N - 1) / (1 - 0.5 z^-N)

Stereo depth is 100 %, there is no pre-delay, wet gain is 0 dB, and the dry signal is kept as it is. Two things may
differ from SoX: it clips each of the two channels to full scale, we clip their mean; and it rounds to 32 bits.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
ALLPASSES = (225, 341, 441, 556)
SPREAD = 12  # samples by which delays of the right channel differ
RATE = 44_100  # Hz, of these delays
LEVEL = 0.015  # of what is added to the signal
TINY = np.float32(1e-20)
LOOP = "void(float32[:,::1], int64[:,:,::1], int64[:,::1], float32[::1], float32[::1], int64, int64, float32[:,::1])"
LEAST, MOST = 0.3, 0.98  # feedback at a reverberance of 0 and of 100 %


def comb_feedback(reverberance: Tensor) -> Tensor:
    """Feedback of the combs: the distance from 1 shrinks by the same factor with each percent."""
    return 1 - (1 - LEAST) * ((1 - MOST) / (1 - LEAST)) ** (reverberance / 100)


def comb_damping(percent: Tensor) -> Tensor:
    """Coefficient of the low-pass filter in the loop of a comb."""
    return 0.2 + 0.3 * percent / 100


def comb_delays(room: Tensor, sample_rate: int) -> Tensor:
    """Samples of the combs `[batch, 2, 8]`, for rooms of so many percent, `[batch]` float64."""
    scale = (0.1 + 0.9 * room / 100) * (sample_rate / RATE)
    return (scale[:, None, None] * _spread(COMBS) + 0.5).long().clamp(min=1)


def allpass_delays(sample_rate: int) -> Tensor:
    """Samples of the allpasses `[2, 4]`, which are those of any room."""
    return (sample_rate / RATE * _spread(ALLPASSES) + 0.5).long().clamp(min=1)


def _spread(delays: tuple[int, ...]) -> Tensor:
    left = torch.tensor(delays, dtype=torch.float64)
    return torch.stack([left, left + SPREAD * (-1.0) ** torch.arange(len(delays))])


def loop(samples, combs, allpasses, feedback, damping, first, last, wet):
    """Reverberate some examples of a batch, as many samples at a time as a delay has. Numba compiles it, see `LOOP`.

    Nothing in such a block depends on the block itself but the low-pass of a comb, which each sample hands on to the
    next. Four of its samples are computed at once, as powers of its coefficient times the one before them. What has
    died away is set to zero, since numbers below the normal ones of float32 are slow.

    Args:
        samples: `[batch, samples]`.
        combs: Delays `[batch, 2, 8]`.
        allpasses: Delays `[2, 4]`.
        feedback: Of the combs, `[batch]`.
        damping: Of their low-passes, `[batch]`.
        first: The first example.
        last: One behind the last.
        wet: What is added to them is written here, `[batch, samples]`.
    """
    count, half = samples.shape[1], np.float32(0.5)
    signal = np.empty(count, np.float32)
    for row in range(first, last):
        f, d, rest = feedback[row], damping[row], np.float32(1) - damping[row]
        d2, d3, d4 = d * d, d * d * d, d * d * d * d
        for n in range(count):
            wet[row, n] = 0
        for channel in range(2):
            for n in range(count):
                signal[n] = 0
            for comb in range(combs.shape[2]):
                size, low = combs[row, channel, comb], np.float32(0)
                line = np.zeros(size, np.float32)
                for start in range(0, count, size):
                    now, out = samples[row, start : start + size], signal[start : start + size]
                    for n in range(len(now)):
                        out[n] += line[n]
                        line[n] *= rest
                    fours = len(now) // 4 * 4
                    for n in range(0, fours, 4):
                        one = line[n]
                        two = line[n + 1] + d * one
                        three = line[n + 2] + d * two
                        four = line[n + 3] + d * three
                        line[n], line[n + 1], line[n + 2] = one + d * low, two + d2 * low, three + d3 * low
                        low = four + d4 * low
                        line[n + 3] = low
                    for n in range(fours, len(now)):
                        low = line[n] + d * low
                        line[n] = low
                    for n in range(len(now)):
                        new = now[n] + f * line[n]
                        line[n] = new if abs(new) > TINY else np.float32(0)
            for number in range(allpasses.shape[1]):
                size = allpasses[channel, number]
                line = np.zeros(size, np.float32)
                for start in range(0, count, size):
                    now = signal[start : start + size]
                    for n in range(len(now)):
                        out, new = line[n], now[n] + half * line[n]
                        line[n] = new if abs(new) > TINY else np.float32(0)
                        now[n] = out - now[n]
            for n in range(count):
                wet[row, n] += np.float32(LEVEL / 2) * signal[n]


def transfer(combs: Tensor, allpasses: Tensor, feedback: Tensor, damping: Tensor, size: int, growth: float) -> Tensor:
    """Transfer function from the signal to what is added to it, at `growth * exp(2 pi i k / size)`.

    Args:
        combs: Delays `[batch, 2, 8]`.
        allpasses: Delays `[2, 4]`.
        feedback: Of the combs, `[batch]`.
        damping: Of their low-passes, `[batch]`.
        size: Even number of samples of a Fourier transform.
        growth: Radius of the circle, at least 1.

    Returns:
        `[batch, size / 2 + 1]`, complex64.
    """
    bins = torch.arange(size // 2 + 1, device=combs.device)

    def early(samples: Tensor) -> Tensor:
        angles = (bins * samples[:, None] % size) * (2 * math.pi / size)
        return torch.polar((growth ** samples.double()).float()[:, None].expand_as(angles), angles)

    d = damping[:, None]
    loop = feedback[:, None] * (1 - d) / (1 - d / early(torch.ones_like(combs[:1, 0, 0])))
    total = torch.zeros_like(loop)
    for channel in range(2):
        both = sum((early(delays) - loop).reciprocal_() for delays in combs[:, channel].unbind(1))
        for delay in allpasses[channel]:
            z = early(delay[None])
            both *= (1.5 - z) / (z - 0.5)
        total += both
    return total.mul_(LEVEL / 2)
