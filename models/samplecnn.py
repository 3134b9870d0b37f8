"""SampleCNN: a network over the samples of short windows of audio, without a spectrogram, and its residual variant.

Lee, Park, Kim and Nam, "Sample-level deep convolutional neural networks for music auto-tagging using raw waveforms",
SMC 2017; Kim, Lee and Nam, "Sample-level CNN architectures for music auto-tagging using raw waveforms", ICASSP 2018.
Both in the form of Won et al., "Evaluation of CNN-based automatic music tagging models", SMC 2020, whose published
weights load by their names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.batch_norm import SmallBatchNorm
from models.convolutional import HiddenLayerTagger, Tagger
from models.fused_rows import norm_pooled

DEPTH = 11
CHANNELS = (128, 128, 128, 256, 256, 256, 256, 256, 256, 512, 512)
WINDOW = 3 ** (DEPTH - 1)  # samples, which ten layers reduce to one cell


class SampleBlock(nn.Module):
    """Convolution, batch norm, ReLU, max-pooling, along time.

    Attributes:
        folds: See `models.folding`.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        kernel: Samples of the convolution.
        stride: Of the convolution.
        padding: Zeros at both ends.
        pool: Cells that become one.
    """

    folds: ClassVar[Mapping[str, str]] = {"conv": "bn"}

    def __init__(
        self, channels_in: int, channels: int, kernel: int = 3, stride: int = 1, padding: int = 1, pool: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels, kernel, stride, padding)
        self.bn = SmallBatchNorm(channels)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, cells]`, fewer cells by stride and pooling."""
        return norm_pooled(x, self.conv, self.bn, self.pool)


class SqueezeBlock(nn.Module):
    """Two convolutions whose channels are weighted by their means over time, beside a shortcut; then max-pooling.

    The shortcut is a third convolution where channels or stride change. The weights are those of squeeze and
    excitation (Hu et al., CVPR 2018), without a bottleneck.

    Attributes:
        folds: See `models.folding`.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        kernel: Samples of the convolutions, an odd number.
        stride: Of the first convolution and of the shortcut.
        pool: Cells that become one.
    """

    folds: ClassVar[Mapping[str, str]] = {"conv_1": "bn_1", "conv_2": "bn_2", "conv_3": "bn_3"}

    def __init__(self, channels_in: int, channels: int, kernel: int = 3, stride: int = 1, pool: int = 1) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(channels_in, channels, kernel, stride, kernel // 2)
        self.bn_1 = SmallBatchNorm(channels)
        self.conv_2 = nn.Conv1d(channels, channels, kernel, padding=kernel // 2)
        self.bn_2 = SmallBatchNorm(channels)
        self.dense1 = nn.Linear(channels, channels)
        self.dense2 = nn.Linear(channels, channels)
        self.reshapes = stride != 1 or channels_in != channels
        if self.reshapes:
            self.conv_3 = nn.Conv1d(channels_in, channels, kernel, stride, kernel // 2)
            self.bn_3 = SmallBatchNorm(channels)
        self.mp = nn.MaxPool1d(pool) if pool > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, cells]`, fewer cells by stride and pooling."""
        shortcut = self.bn_3(self.conv_3(x)) if self.reshapes else x
        x = self.bn_2(self.conv_2(self.bn_1(self.conv_1(x)).relu_()))
        weights = torch.sigmoid(self.dense2(torch.relu(self.dense1(x.mean(2)))))[..., None]
        return self.mp(torch.addcmul(shortcut, x, weights)).relu_()


class SampleTagger(Tagger):
    """What both variants share: eleven layers over windows of 59,049 samples, whose last cells are averaged.

    A window ends in one cell, as published; of longer input the mean over its cells is classified.
    """

    frontend = "waveform"
    window_samples = WINDOW
    window = WINDOW
    layer_names = tuple(f"layer{number}" for number in range(1, DEPTH + 1))
    stages = DEPTH

    def stem(self, x: Tensor) -> Tensor:
        """Samples `[batch, samples]` to `[batch, 1, samples]`."""
        return x[:, None]


class SampleCNN(SampleTagger, name="samplecnn"):
    """Eleven convolutional layers, of which the second to the tenth pool, and one linear layer.

    Other strides are for other sample rates, and make windows of three times their product, of which each layer
    convolves and pools as many cells as its stride is. The layers of CLMR (Spijkervet and Burgoyne, ISMIR 2021) are
    those of `padding=0` and `last_kernel=3`.

    Args:
        n_classes: Number of logits.
        channels: Of each of the eleven layers.
        strides: Of the second to the tenth layer.
        padding: Zeros at both ends of the audio.
        last_kernel: Cells that the convolution of the last layer sees, an odd number.
        dropout: Rate before the linear layer.

    Raises:
        ValueError: Arguments of other lengths or ranges.
    """

    head_prefixes = ("dense.",)

    def __init__(
        self,
        *,
        n_classes: int = 50,
        channels: Sequence[int] = CHANNELS,
        strides: Sequence[int] = (3,) * (DEPTH - 2),
        padding: int = 1,
        last_kernel: int = 1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.check({"channels": channels, "strides": strides, "padding": padding, "last_kernel": last_kernel})
        self.n_classes = n_classes
        self.window = self.window_samples = self.min_frames = 3 * math.prod(strides)
        self.layer1 = SampleBlock(1, channels[0], stride=3, padding=padding)
        for number, stride in enumerate(strides, start=2):
            block = SampleBlock(channels[number - 2], channels[number - 1], kernel=stride, pool=stride)
            setattr(self, f"layer{number}", block)
        self.layer11 = SampleBlock(channels[-2], channels[-1], kernel=last_kernel, padding=last_kernel // 2)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(channels[-1], n_classes)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Eleven layers, nine strides that leave a cell of a window, and an odd last convolution."""
        super().check(arguments)
        strides, padding, last = arguments["strides"], arguments["padding"], arguments["last_kernel"]
        if len(strides) != DEPTH - 2 or min(strides) < 2:
            raise ValueError(f"strides={list(strides)}: expected {DEPTH - 2} numbers of at least 2")
        if padding < 0 or last < 1 or last % 2 == 0:
            raise ValueError(f"padding={padding}, last_kernel={last}: expected 0 or more, and an odd number")
        cells = math.prod(strides)
        for stride in strides:
            cells = (cells + 3 - stride) // stride
        if cells < 1:
            raise ValueError(f"strides={list(strides)}: nothing is left of a window; let the larger ones come first")

    def classify(self, cells: Tensor) -> Tensor:
        """The mean cell to logits."""
        return self.dense(self.dropout(cells.mean(2)))


class SampleCNNSE(SampleTagger, HiddenLayerTagger, name="samplecnn_se"):
    """Eleven residual layers with squeeze and excitation, of which the second to the tenth pool, and two linear layers.

    Args:
        n_classes: Number of logits.
        channels: Of each of the eleven layers.
        dropout: Rate before the last linear layer.

    Raises:
        ValueError: Other than eleven layers.
    """

    min_frames = WINDOW
    layer_names = (*SampleTagger.layer_names, "penultimate")

    def __init__(self, *, n_classes: int = 50, channels: Sequence[int] = CHANNELS, dropout: float = 0.5) -> None:
        super().__init__()
        self.check({"channels": channels})
        self.n_classes = n_classes
        self.layer1 = SqueezeBlock(1, channels[0], stride=3)
        for number in range(2, DEPTH):
            block = SqueezeBlock(channels[number - 2], channels[number - 1], pool=3)
            setattr(self, f"layer{number}", block)
        self.layer11 = SqueezeBlock(channels[-2], channels[-1], kernel=1)
        self.make_head(channels[-1], channels[-1], n_classes, dropout)

    def summary(self, cells: Tensor) -> Tensor:
        """The mean cell."""
        return cells.mean(2)
