"""Reverberation of a batch of audio, each example in a room of its own.

On a processor the filters run as they are defined, in machine code. On other devices, where samples cannot wait for
each other, the signal's spectrum is multiplied by the exact transfer function; no impulse response is rendered.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from models.augment.draws import change, chosen, uniform
from models.augment.freeverb import LOOP, allpass_delays, comb_damping, comb_delays, comb_feedback, loop, transfer
from models.machine_code import compiled
from models.transfer import send

DECAY = 100.0  # of the signal from its first sample to its last, in `by_spectrum`


def reverb(x: Tensor, sample_rate: int, low: int = 0, high: int = 99, p: float = 0.6) -> Tensor:
    """Add the reverberation of SoX's Freeverb, and clip to [-1, 1].

    Args:
        x: `[batch, samples]`.
        sample_rate: Hz.
        low: Reverberance, damping and size of the room are each drawn from so many percent...
        high: ...to so many, in whole percent.
        p: Share of the examples.

    Raises:
        ValueError: More than 100 percent.
    """
    if high > 100:
        raise ValueError(f"reverb: high={high}: expected percent, at most 100")
    reverberance, damping, room = (uniform(x, low, high, step=1) for _ in range(3))

    def change_these(x: Tensor, *percent: Tensor) -> Tensor:
        return reverberated(x, *percent, sample_rate)

    return change(x, chosen(x, p), change_these, reverberance, damping, room)


def reverberated(x: Tensor, reverberance: Tensor, damping: Tensor, room: Tensor, sample_rate: int) -> Tensor:
    """Add reverberation, and clip to [-1, 1].

    Args:
        x: `[batch, samples]`.
        reverberance: Percent, `[batch]`.
        damping: Of high frequencies, percent, `[batch]`.
        room: Size, percent, `[batch]`.
        sample_rate: Hz.
    """
    filters = (
        comb_delays(room.double(), sample_rate),
        allpass_delays(sample_rate),
        comb_feedback(reverberance.double()).float(),
        comb_damping(damping.double()).float(),
    )
    wet = by_recursion(x, *filters) if x.device.type == "cpu" else by_spectrum(x, *filters)
    return wet.add_(x).clamp_(-1, 1)


def by_recursion(x: Tensor, combs: Tensor, allpasses: Tensor, feedback: Tensor, damping: Tensor) -> Tensor:
    """What is added to the signal `[batch, samples]`, with as many threads as torch takes; see `loop`."""
    wet, batch = torch.empty_like(x, memory_format=torch.contiguous_format), len(x)
    run, threads = compiled(loop, LOOP), max(1, min(torch.get_num_threads(), batch))
    arrays = [tensor.contiguous().numpy() for tensor in (x.detach(), combs, allpasses, feedback, damping)]
    bounds = [batch * part // threads for part in range(threads + 1)]
    if threads == 1:
        run(*arrays, 0, batch, wet.numpy())
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda first, last: run(*arrays, first, last, wet.numpy()), bounds, bounds[1:]))
    return wet


def by_spectrum(x: Tensor, combs: Tensor, allpasses: Tensor, feedback: Tensor, damping: Tensor) -> Tensor:
    """The same by a Fourier transform of at least twice the signal's length.

    The response of a filter with feedback never ends, and what lies behind the transform's length would come back at
    its beginning. So the signal decays by a factor of `DECAY` to its end, the response likewise, and the result is
    scaled up again. What comes back is then 100 dB below the signal, as are rounding errors.
    """
    samples = x.shape[1]
    size, growth = 1 << (2 * samples - 1).bit_length(), DECAY ** (1 / samples)
    decay = send((growth ** -torch.arange(samples, dtype=torch.float64)).to(x.dtype), x.device)
    filters = [send(tensor, x.device) for tensor in (combs, allpasses, feedback, damping)]
    spectra = torch.fft.rfft(x * decay, n=size)
    spectra *= transfer(*filters, size, growth)
    return torch.fft.irfft(spectra, n=size)[:, :samples] / decay
