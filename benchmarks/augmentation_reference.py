"""CLMR's chain on one crop after the other, as workers of a loader run it: the other side of `benchmarks.augmentation`.

Pitch and reverberation by SoX, as in the published code, or by loops that do the same. These are compiled for the very
processor and several times as fast. torchaudio has no reverberation, and its `pitch_shift` takes seconds for a crop.
"""

from __future__ import annotations

import importlib
import math
import random
from pathlib import Path

import numba
import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor
from torch.nn import functional as F

COMBS, ALLPASSES = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617), (225, 341, 441, 556)


def chain(x: Tensor, rate: int, folder: Path | None = None) -> Tensor:
    """One view of a crop.

    Args:
        x: `[samples]`.
        rate: Hz.
        folder: Let SoX shift pitch and reverberate, with files there; None: the loops below do.
    """
    if random.random() < 0.8:
        x = -x
    if random.random() < 0.01:
        x = x + random.uniform(1e-4, 1e-2) * x.std() * torch.randn_like(x)
    if random.random() < 0.3:
        x = (x * 10 ** (random.uniform(-20, -1) / 20)).clamp(-1, 1)
    if random.random() < 0.8:
        high = random.random() < 0.5
        x = pass_filter(x, random.uniform(200, 1200) if high else random.uniform(2200, 4000), rate, high)
    if random.random() < 0.3:
        x = delay(x, random.choice((200, 250, 300, 350, 400, 450)), rate)
    cents = random.randint(-700, 700) if random.random() < 0.6 else None
    percent = [random.randint(0, 99) for _ in range(3)] if random.random() < 0.6 else []
    if folder is not None:
        return of_sox(x, cents, percent, rate, folder) if percent or cents is not None else x
    x = x if cents is None else pitch(x, cents, rate)
    return reverb(x, *percent, rate) if percent else x


def pass_filter(x: Tensor, cutoff: float, rate: int, high: bool) -> Tensor:
    """The filter of `julius`."""
    ratio = cutoff / rate
    half = int(8 / ratio / 2)
    kernel = torch.hann_window(2 * half + 1, periodic=False) * torch.sinc(2 * ratio * torch.arange(-half, half + 1))
    padded = F.pad(x[None, None], (half, half), mode="replicate")[0, 0]
    size = 1 << (len(padded) - 1).bit_length()
    spectrum = torch.fft.rfft(padded, n=size) * torch.fft.rfft(kernel / kernel.sum(), n=size)
    low = torch.fft.irfft(spectrum, n=size)[2 * half : 2 * half + len(x)]
    return x - low if high else low


def delay(x: Tensor, milliseconds: int, rate: int) -> Tensor:
    """An echo at half the level; all at half the level."""
    count = milliseconds * rate // 1000
    return (x + 0.5 * torch.cat([x.new_zeros(count), x[:-count]])) / 2


def reverb(x: Tensor, reverberance: float, damping: float, room: float, rate: int) -> Tensor:
    """SoX's Freeverb, both channels, and their mean."""
    slope = -1 / math.log(1 - 0.3)
    offset = 100 / (math.log(1 - 0.98) * slope + 1)
    feedback = 1 - math.exp((reverberance - offset) / (slope * offset))
    wet = []
    for channel in range(2):
        spread = [channel * 12 * (-1) ** number for number in range(8)]
        scale = (room / 100 * 0.9 + 0.1) * rate / 44_100
        combs = [int(scale * (length + more) + 0.5) for length, more in zip(COMBS, spread, strict=True)]
        passes = [int(rate / 44_100 * (length + more) + 0.5) for length, more in zip(ALLPASSES, spread, strict=False)]
        lengths = np.array(combs), np.array(passes)
        wet.append(_freeverb(x.numpy(), *lengths, np.float32(feedback), np.float32(damping / 100 * 0.3 + 0.2)))
    return (x + torch.from_numpy(wet[0] + wet[1]) / 2).clamp(-1, 1)


def pitch(x: Tensor, cents: int, rate: int) -> Tensor:
    """As SoX does: another tempo, at the pitch that it has, and resampled to the old length."""
    factor = 2 ** (cents / 1200)
    stretched = _tempo(x.numpy(), 1 / factor, int(0.082 * rate), int(0.01468 * rate), int(0.012 * rate))
    return _fitted(torch.from_numpy(soxr.resample(stretched, rate * factor, rate, "HQ")), len(x))


def of_sox(x: Tensor, cents: int | None, percent: list[int], rate: int, folder: Path) -> Tensor:
    """Pitch and reverberation by SoX itself, which `cysox` brings along; through files, as it takes nothing else.

    Args:
        x: `[samples]`.
        cents: Shift of pitch; None: none.
        percent: Of the reverberation; empty: none.
        rate: Hz.
        folder: For the files.
    """
    cysox = importlib.import_module("cysox")
    effects = [cysox.fx.Pitch(cents), cysox.fx.Rate(rate)] if cents is not None else []
    effects += [cysox.fx.Reverb(*percent), cysox.fx.Channels(1)] if percent else []
    given, taken = folder / "given.wav", folder / "taken.wav"
    soundfile.write(given, x.numpy(), rate, subtype="PCM_24")
    cysox.convert(given, taken, effects, channels=1, bits=32, encoding="float")
    return _fitted(torch.from_numpy(soundfile.read(taken, dtype="float32")[0]), len(x))


def _fitted(x: Tensor, samples: int) -> Tensor:
    return F.pad(x[:samples], (0, max(0, samples - len(x))))


@numba.njit(cache=False)
def _freeverb(x, combs, allpasses, feedback, damping):
    lines = np.zeros((12, 2048), np.float32)
    places, lows = np.zeros(12, np.int64), np.zeros(8, np.float32)
    wet = np.empty_like(x)
    for n in range(len(x)):
        total = np.float32(0)
        for comb in range(8):
            place = places[comb]
            out = lines[comb, place]
            lows[comb] = out + (lows[comb] - out) * damping
            lines[comb, place] = x[n] + lows[comb] * feedback
            places[comb] = 0 if place + 1 == combs[comb] else place + 1
            total += out
        for number in range(4):
            place = places[8 + number]
            out = lines[8 + number, place]
            lines[8 + number, place] = total + out * np.float32(0.5)
            places[8 + number] = 0 if place + 1 == allpasses[number] else place + 1
            total = out - total
        wet[n] = total * np.float32(0.015)
    return wet


@numba.njit(cache=False, fastmath=True)
def _tempo(x, factor, segment, search, overlap):
    """WSOLA: segments that overlap, each from where it differs least from how the one before it goes on."""
    skip = int(factor * (segment - overlap) + 0.5)
    out = np.zeros(int(len(x) / factor) + 2 * segment, np.float32)
    for n in range(segment):
        out[n] = x[n]
    end, start = segment - overlap, skip
    while start + search + segment < len(x):
        best, least = 0, np.inf
        for offset in range(search):
            difference = np.float32(0)
            for n in range(overlap):
                error = out[end + n] - x[start + offset + n]
                difference += error * error
            if difference < least:
                best, least = offset, difference
        for n in range(overlap):
            share = np.float32(n / overlap)
            out[end + n] += share * (x[start + best + n] - out[end + n])
        for n in range(overlap, segment):
            out[end + n] = x[start + best + n]
        end += segment - overlap
        start += skip
    return out[: end + overlap]
