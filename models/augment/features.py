"""Augmentations of a batch of features, on whatever device it is. Each returns a new tensor.

Features are `[batch, frames, *item_shape]`, normalised so that zero is the training mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.transfer import send


def mixup_draw(batch: int, alpha: float, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Draw partners and mixing weights (Zhang et al., arXiv 1710.09412); the larger share stays with the clip itself.

    Args:
        batch: Number of clips.
        alpha: Both parameters of the beta distribution, above 0.
        device: Where the result is wanted.

    Returns:
        The permutation `[batch]` and the weights `[batch]` in 0.5..1.
    """
    drawn = torch.distributions.Beta(alpha, alpha).sample((batch,))
    return send(torch.randperm(batch), device), send(torch.maximum(drawn, 1 - drawn), device)


def mixup(x: Tensor, permutation: Tensor, weights: Tensor) -> Tensor:
    """Mix every entry of a batch with its partner: `w x + (1 - w) x[permutation]`, for clips and targets alike."""
    w = weights.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
    return w * x + (1 - w) * x[permutation]


def resample(x: Tensor, rates: Tensor, frames: int) -> Tensor:
    """Play features faster or slower, by linear interpolation along time.

    Args:
        x: `[batch, more frames, *item_shape]`.
        rates: How many times faster, `[batch]`.
        frames: Of the result; at most as many as `x` has over the largest rate.

    Returns:
        `[batch, frames, *item_shape]`: frame n is frame `n * rate` of `x`.
    """
    places = torch.arange(frames, device=x.device) * rates[:, None].to(x.device)
    left = places.floor().long().clamp(max=x.shape[1] - 1)
    right = (left + 1).clamp(max=x.shape[1] - 1)
    shape = [len(x), frames, *[1] * (x.ndim - 2)]
    share = (places - left).to(x.dtype).view(shape)
    taken = [x.gather(1, index.view(shape).expand(-1, -1, *x.shape[2:])) for index in (left, right)]
    return torch.lerp(taken[0], taken[1], share)


def spec_augment(
    x: Tensor,
    time_masks: int = 20,
    time_mask_param: int = 8,
    freq_masks: int = 8,
    freq_mask_param: int = 5,
    p: float = 0.2,
) -> Tensor:
    """Set random stretches of time and bands of frequency to zero, drawn for each clip (Park et al., arXiv 1904.08779).

    Args:
        x: `[batch, frames, bands]`, or `[batch, frames, ..., bands]` with the same bands hidden throughout.
        time_masks: Stretches a clip.
        time_mask_param: Every stretch is shorter than this, frames.
        freq_masks: Bands a clip.
        freq_mask_param: Every band is narrower than this, mel bands.
        p: No stretch of time covers more than this share of the clip.
    """
    frames, bands = x.shape[1], x.shape[-1]
    hidden_frames = _stretches(x, frames, time_masks, min(time_mask_param, int(p * frames)))
    hidden_bands = _stretches(x, bands, freq_masks, freq_mask_param)
    between = [1] * (x.ndim - 3)
    frames_and_bands = hidden_frames[:, :, None] | hidden_bands[:, None, :]
    return x.masked_fill(frames_and_bands.view(len(x), frames, *between, bands), 0.0)


def _stretches(x: Tensor, size: int, count: int, longest: int) -> Tensor:
    """`[batch, size]` booleans: true inside any of `count` stretches of 0 to `longest - 1` positions a clip."""
    lengths = torch.rand(len(x), count, 1, device=x.device) * longest
    starts = torch.rand(len(x), count, 1, device=x.device) * (size - lengths)
    starts, lengths = starts.floor(), lengths.floor()
    positions = torch.arange(size, device=x.device)
    return ((positions >= starts) & (positions < starts + lengths)).any(dim=1)


def roll(x: Tensor, shift_range: int = 50) -> Tensor:
    """Shift every clip along time by its own uniform draw from `-shift_range .. shift_range` frames, circularly."""
    batch, frames = x.shape[:2]
    shifts = torch.randint(-shift_range, shift_range + 1, (batch, 1), device=x.device)
    source = (torch.arange(frames, device=x.device) - shifts) % frames
    return x.gather(1, source.view(batch, frames, *[1] * (x.ndim - 2)).expand_as(x))
