"""Small convolutional networks for tempo from mel bands.

Schreiber and Müller, "Musical tempo and key estimation using convolutional neural networks with directional filters",
SMC 2019: filters along time alone find periods; those of `square` see bands and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from models.arguments import Positive, Rate
from models.tempo_network import TempoNetwork

Filter = Literal["shallow", "deep", "square"]
WIDTHS = (1, 2, 4, 4, 8, 8)  # channels of the six pairs, in units of `k`
SAMPLES = 255 * 512  # of a window: 11.8 s at 11,025 Hz, 256 frames
SPREAD = 1e-5  # smallest deviation that an excerpt is divided by


class Directional(nn.Module):
    """Two convolutions, each with ReLU and batch norm behind it, max-pooling where there is something to pool.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        sizes: Bands and frames of the filters, of either convolution.
        dropout: Rate after pooling.
    """

    def __init__(
        self, channels_in: int, channels: int, sizes: tuple[tuple[int, int], tuple[int, int]], dropout: float
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, sizes[0], padding="same")
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, sizes[1], padding="same")
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, bands, frames]`, half as many of both."""
        x = self.bn1(F.relu(self.conv1(x)))
        x = self.bn2(F.relu(self.conv2(x)))
        return self.dropout(F.max_pool2d(x, [min(2, size) for size in x.shape[2:]]))


class Filters(nn.Module):
    """One convolution along time, ReLU, dropout.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        frames: Of the filters.
        dropout: Rate.
        pooled: Take the mean over all bands first.
    """

    def __init__(self, channels_in: int, channels: int, frames: int, dropout: float, pooled: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, (1, frames))
        self.around = (frames - 1) // 2, frames // 2  # what is padded for as many frames
        self.dropout, self.pooled = nn.Dropout(dropout), pooled

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, bands, frames]`, as many frames."""
        x = x.mean(2, keepdim=True) if self.pooled else x
        return self.dropout(F.relu(self.conv(F.pad(x, self.around))))


class TempoCNN(TempoNetwork, name="tempo_cnn"):
    """Convolutions over 40 mel bands of excerpts of zero mean and unit deviation, and one of 1 x 1 to the classes.

    Any number of frames from 64 on.

    Args:
        n_classes: Number of logits.
        filters: shallow has two layers of filters along time, of 3 and 256 frames; deep has six pairs, of 5 and 3;
            square likewise, over as many bands.
        k: Filters of the first layer, of which the others have multiples.
        dropout: Rate after every layer or pair.
    """

    frontend = "mel_magnitude"
    window_samples = SAMPLES
    min_frames = 64
    layer_names: tuple[str, ...] = tuple(f"layer{number}" for number in range(1, 7))
    head_prefixes = ("classifier.",)

    def __init__(self, *, n_classes: int = 256, filters: Filter = "deep", k: Positive = 8, dropout: Rate = 0.3) -> None:
        super().__init__()
        self.n_classes = n_classes
        if filters == "shallow":
            layers = [Filters(1, k, 3, dropout, pooled=False), Filters(k, 64 * k, 256, dropout, pooled=True)]
            width = 64 * k
        else:
            sizes = ((1, 5), (1, 3)) if filters == "deep" else ((5, 5), (3, 3))
            widths = [1, *(k * times for times in WIDTHS)]
            layers = [Directional(one, two, sizes, dropout) for one, two in pairwise(widths)]
            width = widths[-1]
        self.layer_names = type(self).layer_names[: len(layers)]
        for name, layer in zip(self.layer_names, layers, strict=True):
            setattr(self, name, layer)
        self.classifier = nn.Conv2d(width, n_classes, 1)

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> None:
        """None: there are no files with these names."""

    def stem(self, x: Tensor) -> Tensor:
        """Frames `[batch, frames, bands]` to `[batch, 1, bands, frames]` of zero mean and unit deviation."""
        x = x - x.mean((1, 2), keepdim=True)
        deviation = x.square().mean((1, 2), keepdim=True).sqrt()
        return (x / deviation.clamp(min=SPREAD)).transpose(1, 2)[:, None]

    def classify(self, cells: Tensor) -> Tensor:
        """The mean of all cells through the classifier, which is the mean of what it makes of each."""
        if not self.n_classes:  # a convolution to no channels can be made, and not be called
            return cells.new_empty(len(cells), 0)
        return self.classifier(cells.mean((2, 3), keepdim=True)).flatten(1)
