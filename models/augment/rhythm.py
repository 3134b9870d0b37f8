"""Augmentations of spectrograms for networks that look for beats: none of them moves a beat.

Features are `[batch, frames, ..., bands]`, bands on a scale of pitch, normalised. Every example draws for itself, with
probability `p` whether it is changed. See Foscarin, Schlüter and Widmer, "Beat this! Accurate beat tracking without DBN
postprocessing", ISMIR 2024, section 3, where pitch is shifted and time is masked in the audio.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pitch_shift(x: Tensor, bands: int = 6, p: float = 0.5) -> Tensor:
    """Shift by a whole number of bands, at most so many up or down; the outermost band fills what becomes free."""
    shifts = torch.randint(-bands, bands + 1, (len(x), 1), device=x.device) * _chosen(x, p)
    source = (torch.arange(x.shape[-1], device=x.device) - shifts).clamp(0, x.shape[-1] - 1)
    shape = [len(x), *[1] * (x.ndim - 2), x.shape[-1]]
    return x.gather(-1, source.view(shape).expand_as(x))


def shuffle_time(x: Tensor, stretches: int = 6, shortest: int = 5, longest: int = 100, p: float = 0.5) -> Tensor:
    """Put the frames of some stretches of time in another order, in five to nine pieces, so that context is needed.

    Args:
        x: `[batch, frames, ...]`.
        stretches: At most so many an example, one at least; 0 for none.
        shortest: Frames of a stretch at least.
        longest: Frames at most; never more than the example has.
        p: Share of the examples.
    """
    frames = x.shape[1]
    longest = min(longest, frames)
    if longest < max(shortest, 2) or not stretches:
        return x
    order = torch.arange(frames).repeat(len(x), 1)
    for row in torch.nonzero(_chosen(x, p)[:, 0].cpu())[:, 0].tolist():
        for _ in range(int(torch.randint(1, stretches + 1, ()))):
            length = int(torch.randint(max(shortest, 2), longest + 1, ()))
            start = int(torch.randint(0, frames - length + 1, ()))
            pieces = order[row, start : start + length].tensor_split(min(int(torch.randint(5, 10, ())), length))
            shuffled = [pieces[number] for number in torch.randperm(len(pieces)).tolist()]
            order[row, start : start + length] = torch.cat(shuffled)
    shape = [len(x), frames, *[1] * (x.ndim - 2)]
    return x.gather(1, order.to(x.device).view(shape).expand_as(x))


def drop_bands(x: Tensor, share: float = 0.3, p: float = 0.3) -> Tensor:
    """Set one run of bands to the mean of the corpus, at most this share of them, as of a filtered recording."""
    bands = x.shape[-1]
    widths = torch.rand(len(x), 1, device=x.device) * share * bands * _chosen(x, p)
    starts = torch.rand(len(x), 1, device=x.device) * (bands - widths)
    place = torch.arange(bands, device=x.device)
    hidden = (place >= starts.floor()) & (place < (starts + widths).floor())
    return x.masked_fill(hidden.view(len(x), *[1] * (x.ndim - 2), bands), 0.0)


def level(x: Tensor, low: float = -0.5, high: float = 0.5, p: float = 0.5) -> Tensor:
    """Add a constant between two, in units of the normalised logarithm: the same music louder or softer."""
    added = low + (high - low) * torch.rand(len(x), 1, device=x.device)
    return x + (added * _chosen(x, p)).view(len(x), *[1] * (x.ndim - 1))


def _chosen(x: Tensor, p: float) -> Tensor:
    return torch.rand(len(x), 1, device=x.device) < p
