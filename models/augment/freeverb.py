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


def feedback(reverberance: Tensor) -> Tensor:
    """Feedback of the combs: the distance from 1 shrinks by the same factor with each percent."""
    return 1 - (1 - LEAST) * ((1 - MOST) / (1 - LEAST)) ** (reverberance / 100)


def damping(percent: Tensor) -> Tensor:
    """Coefficient of the low-pass filter in the loop of a comb."""
    return 0.2 + 0.3 * percent / 100


def comb_delays(room: Tensor, sample_rate: int) -> Tensor:
    """Samples of the combs `[batch, 2, 8]`, for rooms of so many percent, `[batch]` float64."""
    scale = (0.1 + 0.9 * room / 100) * (sample_rate / RATE)
    return (scale[:, None, None] * _spread(COMBS) + 0.5).long()


def allpass_delays(sample_rate: int) -> Tensor:
    """Samples of the allpasses `[2, 4]`, which are those of any room."""
    return (sample_rate / RATE * _spread(ALLPASSES) + 0.5).long()


def _spread(delays: tuple[int, ...]) -> Tensor:
    left = torch.tensor(delays, dtype=torch.float64)
    return torch.stack([left, left + SPREAD * (-1.0) ** torch.arange(len(delays))])


def loop(samples, combs, allpasses, feedback, damping, first, last, wet):
    """Reverberate some examples of a batch, sample by sample. Numba compiles it, see `LOOP`.

    Left and right channel are computed side by side, so that a processor need not wait for one low-pass after the
    other. What has died away is set to zero, as numbers below the normal ones of float32 are slow.

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
    count = samples.shape[1]
    left, right = np.empty(count, np.float32), np.empty(count, np.float32)
    for row in range(first, last):
        f, d = feedback[row], damping[row]
        rest = np.float32(1) - d
        left[:], right[:] = 0, 0
        for comb in range(combs.shape[2]):
            size_left, size_right = combs[row, 0, comb], combs[row, 1, comb]
            late_left, late_right = np.zeros(size_left, np.float32), np.zeros(size_right, np.float32)
            at_left, at_right, low_left, low_right, start = 0, 0, np.float32(0), np.float32(0), 0
            while start < count:
                run = min(count - start, size_left - at_left, size_right - at_right)
                for n in range(run):
                    now = samples[row, start + n]
                    out_left, out_right = late_left[at_left + n], late_right[at_right + n]
                    low_left = d * low_left + rest * out_left
                    low_right = d * low_right + rest * out_right
                    new_left, new_right = now + f * low_left, now + f * low_right
                    late_left[at_left + n] = new_left if abs(new_left) > TINY else np.float32(0)
                    late_right[at_right + n] = new_right if abs(new_right) > TINY else np.float32(0)
                    left[start + n] += out_left
                    right[start + n] += out_right
                start += run
                at_left = 0 if at_left + run == size_left else at_left + run
                at_right = 0 if at_right + run == size_right else at_right + run
        for channel in range(2):
            signal = left if channel == 0 else right
            for number in range(allpasses.shape[1]):
                size = allpasses[channel, number]
                late = np.zeros(size, np.float32)
                for start in range(0, count, size):
                    for n in range(min(size, count - start)):
                        out = late[n]
                        new = signal[start + n] + np.float32(0.5) * out
                        late[n] = new if abs(new) > TINY else np.float32(0)
                        signal[start + n] = out - signal[start + n]
        for n in range(count):
            wet[row, n] = np.float32(LEVEL / 2) * (left[n] + right[n])


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
