"""Another pitch shifter than SoX's for CLMR's chain: whole batches on the device, every example by its own interval.

As in SoX, sound is repeated or left out in the time domain (WSOLA) and resampled; here in one step. A grain of the
output reads the input at the ratio of the shift, by a windowed sinc that also removes what would alias. Where it starts
is sought so that it continues the grains before it. The ratio is the same in every grain of an example, so a product of
matrices makes all of them. See Verhelst and Roelands, "An overlap-add technique based on waveform similarity (WSOLA)
for high quality time-scale modification of speech", ICASSP 1993.

WSOLA compares with the last grain alone. In a chord no start suits every note, and the small errors, always of the same
sign, detune notes by tens of cents. Comparing with the mean of the last four grains, each read on, makes errors cancel.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from models.augment.draws import change, chosen, uniform
from models.transfer import send

HOP, OVERLAP, SEARCH = 0.0464, 0.0116, 0.0218  # seconds from grain to grain, of a crossfade, in which a start is sought
MEMORY = 4  # grains that the next one continues
TILE = 32  # samples of the output that share a window of the input
CROSSINGS, CUTOFF = 8, 0.95  # zero crossings of the sinc on each side, and its share of the band
FARTHEST = 2400  # cents
CENTRED = 1e-4  # share of the power that a start at the edge of the search has to gain


def pitch(x: Tensor, sample_rate: int, low: float = -700.0, high: float = 700.0, p: float = 0.6) -> Tensor:
    """Shift by an interval drawn uniformly from `low` to `high` cents in whole cents, at the same tempo and length.

    Steady notes are a few cents off at most, apart from close intervals in a low register. Sound moves by up to 25 ms.
    A shift upwards repeats some of it, so that a click can be heard twice; one downwards leaves some out.

    Args:
        x: Audio `[batch, samples]`.
        sample_rate: In Hz.
        low: Lowest shift.
        high: Highest shift.
        p: Share of the examples.

    Raises:
        ValueError: A shift by more than two octaves.
    """
    if not -FARTHEST <= low <= high <= FARTHEST:
        raise ValueError(f"pitch: low={low} and high={high}: expected cents from -{FARTHEST} to {FARTHEST}, low first")
    cents = uniform(x, low, high, step=1)
    return change(x, chosen(x, p), partial(_shifted, sample_rate=sample_rate, highest=high), cents)


def _shifted(x: Tensor, cents: Tensor, sample_rate: int, highest: float) -> Tensor:
    return shift(x.float(), send(cents, x.device), sample_rate, highest).to(x.dtype)


def shift(x: Tensor, cents: Tensor, sample_rate: int, highest: float) -> Tensor:
    """Shift every example by its own interval.

    Args:
        x: Audio `[batch, samples]`, float32.
        cents: `[batch]`.
        sample_rate: In Hz.
        highest: In cents; none is above.
    """
    samples, device = x.shape[1], x.device
    overlap, hop = (TILE * max(1, round(seconds * sample_rate / TILE)) for seconds in (OVERLAP, HOP))
    grain = hop + overlap
    most = max(1.0, 2 ** (highest / 1200))  # samples that are read for one that is written
    reach = math.ceil(CROSSINGS * most)
    span = math.ceil(TILE * most) + 2 * reach + 1
    ratio = 2 ** (cents.double() / 1200)

    before, after = reach + math.ceil(overlap * most), math.ceil((overlap + MEMORY * hop) * most) + span
    padded = F.pad(x, (before, after))
    starts = before + _starts(padded, before, ratio, samples, hop, overlap, 2 * round(SEARCH * sample_rate / 2))

    places = ratio[:, None, None] * torch.arange(grain, device=device).view(-1, TILE)  # `[batch, tiles, TILE]`
    whole = places[:, :, 0].floor().long()
    ramp = (torch.arange(overlap, device=device) + 0.5) / overlap
    fade = torch.cat((ramp, ramp.new_ones(hop - overlap), 1 - ramp)).view(-1, TILE)
    kernels = _kernels(places - whole[:, :, None] + reach, fade, ratio, reach, span)
    windows = _windows(padded, (starts[:, None] + whole[:, :, None] - reach).flatten(1), span)
    tiles, count = len(fade), starts.shape[1]
    grains = torch.bmm(windows.view(-1, count, span), kernels.flatten(0, 1))
    grains = grains.view(len(x), tiles, count, TILE).transpose(1, 2)  # `[batch, grains, tiles, TILE]`
    out = grains[:, :, : hop // TILE].contiguous()
    out[:, 1:, : overlap // TILE] += grains[:, :-1, hop // TILE :]
    return out.view(len(x), -1)[:, overlap : overlap + samples]


def _starts(padded: Tensor, before: int, ratio: Tensor, samples: int, hop: int, overlap: int, search: int) -> Tensor:
    """Where in the input every grain starts, `[batch, grains]`; grain k is written from sample `k * hop - overlap` on.

    Args:
        padded: Audio with zeros around it.
        before: How many zeros come before its `samples`.
        ratio: Samples read for one that is written.
        samples: Of an example.
        hop: From grain to grain in the output.
        overlap: Of two grains; as many samples of the input are compared.
        search: Starts to choose from.
    """
    device, grain = padded.device, hop + overlap
    begins = hop * torch.arange(-(-(samples + overlap) // hop), device=device)
    lengths = (samples + overlap - begins).clamp(max=grain)  # what is written of a grain
    centred = (begins - overlap + (1 - ratio[:, None]) * grain / 2).round().long()
    first = -(ratio[:, None] * overlap).floor().long()
    last = torch.maximum(samples - (ratio[:, None] * lengths).ceil().long(), first)
    choices = torch.maximum(torch.minimum(centred - search // 2, last - search + 1), first)
    advance = (ratio[:, None] * begins).round().long()

    size = _fast_size(search + overlap - 1)
    heard = _windows(padded, before + choices, size)
    power = F.pad(heard[..., : search + overlap - 1].square().cumsum(-1), (1, 0))
    off_centre = torch.linspace(-1, 1, search, device=device) ** 2
    worth = CENTRED * overlap * padded.square().mean(1)[:, None, None] * off_centre
    penalties = (power[..., overlap:] - power[..., :search]) / 2 + worth  # the square of a difference, without products
    spectra = torch.fft.rfft(heard, norm="forward")  # divided by `size`, as the inverse below is not

    every, origins = _every(padded, overlap), before + _origins(padded)
    offsets = choices - advance  # from where the start would be if all of the input were read in order
    earliest = torch.maximum(torch.minimum(centred[:, :1], last[:, :1]), first)
    chain = earliest.repeat(1, MEMORY + len(begins) - 1)  # such offsets of all grains; the first has some before it
    steps = zip((advance + origins).split(1, 1), spectra.unbind(1), penalties.unbind(1), offsets.unbind(1), strict=True)
    for k, (place, spectrum, penalty, offset) in enumerate(steps):
        if k:
            continued = every[chain[:, k - 1 : k - 1 + MEMORY] + place].mean(1)
            products = torch.fft.rfft(continued, n=size).conj() * spectrum
            likeness = torch.fft.irfft(products, n=size, norm="forward")[:, :search]
            torch.add(offset, (likeness - penalty).argmax(1), out=chain[:, k - 1 + MEMORY])
    return chain[:, MEMORY - 1 :] + advance


def _kernels(places: Tensor, fade: Tensor, ratio: Tensor, reach: int, span: int) -> Tensor:
    """Windowed sincs `[batch, tiles, span, TILE]` that read a window of the input at `places [batch, tiles, TILE]`.

    sin(a - b) is made of sines and cosines of a and of b: few to compute. Places are odd multiples of 2 ** -13, so that
    nothing is divided by zero; the error is below -80 dB at 5 kHz.

    Args:
        places: In samples from the start of the window, float64.
        fade: Factors of the samples that are written, `[tiles, TILE]`.
        ratio: Samples read for one that is written, `[batch]`, float64.
        reach: Samples of a sinc on each side.
        span: Samples of a window.
    """
    places = ((places * 2**12).floor() + 0.5) / 2**12
    turn = math.pi * CUTOFF * (1 / ratio).clamp(max=1).view(-1, 1, 1)
    taps = torch.arange(span, device=places.device, dtype=places.dtype)
    a, b, factor = (turn * taps)[..., None], (turn * places)[:, :, None], fade[:, None] / math.pi
    sine = a.sin().float() * (b.cos() * factor).float()
    sine = sine.addcmul_(a.cos().float(), (b.sin() * factor).float(), value=-1)
    distance = taps.float()[:, None] - places[:, :, None].float()
    sine /= distance
    window = distance.mul_(1 / reach).square_().neg_().add_(1).clamp_(min=0)
    return sine.mul_(window).mul_(window)


def _windows(x: Tensor, starts: Tensor, length: int) -> Tensor:
    """Stretches `[batch, windows, length]` of `x [batch, samples]` from `starts [batch, windows]` on."""
    return _every(x, length)[starts + _origins(x)]


def _every(x: Tensor, length: int) -> Tensor:
    """All stretches of some length of the examples `x [batch, samples]`, laid end to end."""
    return x.view(-1).as_strided((x.numel() - length + 1, length), (1, 1))


def _origins(x: Tensor) -> Tensor:
    """Where examples start when they are laid end to end, `[batch, 1]`."""
    return x.shape[1] * torch.arange(len(x), device=x.device)[:, None]


def _fast_size(least: int) -> int:
    """The smallest even length of a Fourier transform from `least` on without a prime factor above 5."""
    size = least + least % 2
    while 30 ** size.bit_length() % size:
        size += 2
    return size
