"""Convolution of few input channels on a CPU: a product of filters and patches, piece by piece.

Such a product is thin, so that the time goes to memory: a piece is used while it is in the cache, and in the backward
pass it is computed once more. The convolution's output, the largest tensor of a tagger, never exists as a whole.

Tensors are `[batch, channels, bands, frames]` in the memory format `channels_last`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PIECE = 2**20  # elements that are worked on at a time: they stay in a cache, and threads rarely wait for each other
FEW_INPUTS = 9  # of a filter: 3 x 3 of one channel; with six channels the convolution of PyTorch is faster

Piece = tuple[slice, slice, slice]  # samples, bands, and the bands that are left after pooling


def few_inputs(conv: nn.Conv2d) -> bool:
    """Whether a convolution has so few inputs a filter that it is done by patches."""
    return conv.weight[0].numel() <= FEW_INPUTS


def pieces(samples: int, bands: int, band: int, pool: int) -> Iterator[Piece]:
    """Parts of a map that are worked on one after the other.

    Args:
        samples: In the batch.
        bands: Of the map.
        band: Elements of one.
        pool: Bands that become one; what is left over at the end belongs to the last piece of a sample.
    """
    pooled, step = bands // pool, max(1, PIECE // (pool * band))
    if bands * band <= PIECE:
        together = PIECE // (bands * band)
        for first in range(0, samples, together):
            yield slice(first, first + together), slice(0, bands), slice(0, pooled)
        return
    for sample in range(samples):
        for first in range(0, pooled, step):
            last = min(first + step, pooled)
            end = bands if last == pooled else last * pool
            yield slice(sample, sample + 1), slice(first * pool, end), slice(first, last)


def rows_of(cells: Tensor) -> Tensor:
    """`[batch, channels, bands, frames]` in channels_last as a view `[batch, bands * frames, channels]`."""
    return cells.permute(0, 2, 3, 1).flatten(1, 2)


def empty_channels_last(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uninitialised, of the type of another."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


class Patches:
    """The patches of a map, the filters that they are multiplied with, and the gradients of both.

    Args:
        x: `[batch, inputs, bands, frames]`.
        weight: Of the convolution.
        stride: Of the convolution.
        padding: Of the convolution.
    """

    def __init__(self, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> None:
        self.x, self.weight, self.stride, self.padding = x, weight, stride, padding
        self.filters = weight.flatten(1).t().contiguous()  # [inputs of a filter, channels]
        padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
        views = padded.unfold(2, weight.shape[2], stride[0]).unfold(3, weight.shape[3], stride[1])
        self.views = views.permute(1, 4, 5, 0, 2, 3)  # [inputs, kernel, kernel, batch, bands, frames]
        self.bands, self.frames = views.shape[2:4]
        self.filter_gradient = torch.zeros_like(self.filters)
        self.padded_gradient: Tensor | None = None

    def pooled(self, pool: tuple[int, int]) -> Tensor:
        """Room for the convolution's output after pooling."""
        return empty_channels_last(
            (len(self.x), len(self.weight), self.bands // pool[0], self.frames // pool[1]), self.x
        )

    def pieces(self, pool: int) -> Iterator[Piece]:
        """See `pieces`."""
        return pieces(len(self.x), self.bands, self.frames * len(self.weight), pool)

    def columns(self, samples: slice, bands: slice) -> Tensor:
        """Patches of a piece, `[inputs of a filter, cells]`."""
        return self.views[:, :, :, samples, bands].reshape(len(self.filters), -1)

    def convolved(self, columns: Tensor, bands: slice) -> Tensor:
        """The convolution's output of a piece, `[samples, channels, bands, frames]`."""
        rows = columns.t() @ self.filters
        return rows.view(-1, bands.stop - bands.start, self.frames, len(self.weight)).permute(0, 3, 1, 2)

    def add_gradients(self, columns: Tensor, gradient: Tensor, samples: slice, bands: slice, of_input: bool) -> None:
        """Add the share of a piece to the gradients.

        Args:
            columns: Of the piece.
            gradient: Of the convolution's output, `[cells, channels]`.
            samples: Of the piece.
            bands: Of the piece.
            of_input: Whether the gradient of the input is wanted, too.
        """
        self.filter_gradient.addmm_(columns, gradient)
        if not of_input:
            return
        if self.padded_gradient is None:
            tall, wide = (size + 2 * zeros for size, zeros in zip(self.x.shape[2:], self.padding, strict=True))
            self.padded_gradient = self.x.new_zeros(*self.x.shape[:2], tall, wide)
        (down, across), kernel = self.stride, self.weight.shape[2:]
        grad = (self.filters @ gradient.t()).view(*self.views.shape[:3], -1, bands.stop - bands.start, self.frames)
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                ends = i + (bands.stop - 1) * down + 1, j + (self.frames - 1) * across + 1
                into = self.padded_gradient[samples, :, i + bands.start * down : ends[0] : down, j : ends[1] : across]
                into += grad[:, i, j].transpose(0, 1)

    def gradients(self) -> tuple[Tensor | None, Tensor]:
        """Of the input, where it was wanted, and of the filters."""
        of_filters = self.filter_gradient.t().reshape(self.weight.shape)
        if self.padded_gradient is None:
            return None, of_filters
        (above, before), (tall, wide) = self.padding, self.x.shape[2:]
        return self.padded_gradient[:, :, above : above + tall, before : before + wide], of_filters
