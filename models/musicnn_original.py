"""The network of the library `musicnn`: timbral and temporal filters, three convolutions over time, two pools.

Pons and Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging", ISMIR 2019
late-breaking; the architecture is that of Pons et al., "End-to-end learning for music audio tagging at scale", ISMIR
2018. It differs from the form that Won et al. trained (`musicnn`) in its input, in the order of ReLU and batch norm, in
its temporal filters, which keep the bands apart, and in how it pools.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.network import Network

BANDS = 96
GAIN = 10_000.0
EPSILON = 1e-3  # of batch norm, as TensorFlow has it
TIMBRAL = (38, 67)  # bands that a filter spans; 7 frames
TEMPORAL = (128, 64, 32)  # frames that a filter spans; one band
OVER_TIME = ("timbral", "temporal", "cnn1", "cnn2", "cnn3")


class Convolution(nn.Module):
    """Convolution, ReLU, batch norm: in this order.

    Args:
        conv: Of one or two dimensions.
        padding: Zeros before and behind along time, the last dimension but `others`.
        others: Dimensions behind time.
    """

    def __init__(self, conv: nn.Conv1d | nn.Conv2d, padding: tuple[int, int], others: int = 0) -> None:
        super().__init__()
        self.conv, self.padding = conv, (*(0, 0) * others, *padding)
        norm = nn.BatchNorm2d if isinstance(conv, nn.Conv2d) else nn.BatchNorm1d
        self.bn = norm(conv.out_channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, frames, ...]`, as many frames."""
        return self.bn(torch.relu(self.conv(F.pad(x, self.padding))))


class MusicnnOriginal(Network, name="musicnn_original"):
    """The library's network: energies of 96 mel bands to logits, any length.

    Args:
        n_classes: Number of logits.
        timbral_channels: Of each of the two kinds of timbral filters.
        temporal_channels: Of each of the three kinds of temporal filters.
        channels: Of each of the three convolutions over time.
        hidden: Of the layer before the last.
        dropout: Rate before both linear layers.
    """

    frontend = "musicnn_original"
    seconds = 3.0
    layer_names = (*OVER_TIME, "mean_pool", "max_pool", "penultimate")

    def __init__(
        self,
        *,
        n_classes: int = 50,
        timbral_channels: int = 204,
        temporal_channels: int = 51,
        channels: int = 64,
        hidden: int = 200,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.bn_input = nn.BatchNorm2d(1, eps=EPSILON)
        self.timbral = nn.ModuleList(
            Convolution(nn.Conv2d(1, timbral_channels, (7, bands)), (3, 3), others=1) for bands in TIMBRAL
        )
        self.temporal = nn.ModuleList(
            Convolution(nn.Conv2d(1, temporal_channels, (frames, 1)), ((frames - 1) // 2, frames // 2), others=1)
            for frames in TEMPORAL
        )
        width = len(TIMBRAL) * timbral_channels + len(TEMPORAL) * temporal_channels
        self.cnn1 = Convolution(nn.Conv1d(width, channels, 7), (3, 3))
        self.cnn2 = Convolution(nn.Conv1d(channels, channels, 7), (3, 3))
        self.cnn3 = Convolution(nn.Conv1d(channels, channels, 7), (3, 3))
        pooled = 2 * (width + 3 * channels)
        self.bn_pool = nn.BatchNorm1d(pooled, eps=EPSILON)
        self.dense = nn.Linear(pooled, hidden)
        self.bn_dense = nn.BatchNorm1d(hidden, eps=EPSILON)
        self.head = nn.Linear(hidden, n_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Energies `[batch, frames, 96]` to logits `[batch, n_classes]`."""
        return self.forward_and_embed(x, [])[0]

    def embed(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """`[batch, 1, dim]` by layer; of those that go over time, their mean."""
        return self.forward_and_embed(x, layers)[1]

    def forward_and_embed(self, x: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Both from one pass.

        Raises:
            ValueError: The input is not of 96 bands.
        """
        if x.ndim != 3 or x.shape[2] != BANDS or not x.shape[1]:
            raise ValueError(f"got shape {list(x.shape)}: expected [batch, frames, {BANDS}]")
        x = self.bn_input(torch.log10(1 + GAIN * x.clamp(min=0))[:, None])
        timbral = torch.cat([branch(x).amax(3) for branch in self.timbral], 1)
        temporal = torch.cat([branch(x).amax(3) for branch in self.temporal], 1)
        front = torch.cat([timbral, temporal], 1)
        cnn1 = self.cnn1(front)
        cnn2 = cnn1 + self.cnn2(cnn1)
        cnn3 = cnn2 + self.cnn3(cnn2)
        dense = torch.cat([front, cnn1, cnn2, cnn3], 1)
        mean_pool, max_pool = dense.mean(2), dense.amax(2)
        pooled = torch.stack([max_pool, mean_pool], 2).flatten(1)
        penultimate = self.bn_dense(torch.relu(self.dense(self.dropout(self.bn_pool(pooled)))))
        outputs = {
            **{
                name: cells.mean(2)
                for name, cells in zip(OVER_TIME, (timbral, temporal, cnn1, cnn2, cnn3), strict=True)
            },
            "mean_pool": mean_pool,
            "max_pool": max_pool,
            "penultimate": penultimate,
        }
        return self.head(self.dropout(penultimate)), {name: outputs[name][:, None] for name in layers}

    def parameter_layers(self) -> list[list[str]]:
        """The norm of the input, the filters, each convolution over time, the pooled layer, the head."""
        order = ("bn_input", "timbral temporal", "cnn1", "cnn2", "cnn3", "bn_pool dense bn_dense", "head")
        names = [name for name, _ in self.named_parameters()]
        return [[name for name in names if name.partition(".")[0] in group.split()] for group in order]
