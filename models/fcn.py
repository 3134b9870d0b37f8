"""FCN: a fully convolutional network over the mel spectrogram of half a minute.

Choi, Fazekas and Sandler, "Automatic tagging using deep convolutional neural networks", ISMIR 2016, in the form of Won
et al., "Evaluation of CNN-based automatic music tagging models", SMC 2020, whose published weights load by their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.initial_weights import State
from models.network import Network

WINDOW = 464_000  # samples: 29 s at 16 kHz
POOLS = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))  # bands and frames, layer by layer
REBUILT = "spec."  # tensors of published files that belong to the front end


class ConvBlock(nn.Module):
    """Convolution of 3 x 3, batch norm, ReLU, max-pooling."""

    def __init__(self, channels_in: int, channels: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.mp = nn.MaxPool2d(pool)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, bands, frames]`, pooled along the last two."""
        return self.mp(torch.relu(self.bn(self.conv(x))))


class FCN(Network, name="fcn"):
    """Five convolutional layers over the level of 96 mel bands in dB, and one linear layer.

    Up to 2,559 frames end in a single cell; of longer input the mean over the cells is classified.

    Args:
        n_classes: Number of logits.
        channels: Of each of the five layers.
        dropout: Rate before the linear layer.

    Raises:
        ValueError: Other than five layers.
    """

    frontend = "mel_db"
    input = "audio"
    window_samples = WINDOW
    window = 1 + WINDOW // 256
    min_frames = 1280
    layer_names = ("layer1", "layer2", "layer3", "layer4", "layer5")
    head_prefixes = ("dense.",)

    def __init__(
        self, *, n_classes: int = 50, channels: Sequence[int] = (64, 128, 128, 128, 64), dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.check({"channels": channels})
        self.n_classes = n_classes
        self.spec_bn = nn.BatchNorm2d(1)
        width = 1
        for name, wider, pool in zip(self.layer_names, channels, POOLS, strict=True):
            setattr(self, name, ConvBlock(width, wider, pool))
            width = wider
        self.dense = nn.Linear(width, n_classes)
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Five layers, each of a channel or more."""
        channels = arguments["channels"]
        if len(channels) != len(POOLS) or min(channels) < 1:
            raise ValueError(f"channels={list(channels)}: expected {len(POOLS)} numbers of at least 1, one per layer")

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """The layout of Won et al.; what their files hold of the front end is built anew."""
        own = {key: tensor for key, tensor in state.items() if not key.startswith(REBUILT)}
        with torch.device("meta"):
            expected = cls().state_dict().keys()
        if own.keys() != expected or own["dense.weight"].ndim != 2:
            return None
        channels = [len(own[f"{name}.conv.bias"]) for name in cls.layer_names]
        return {"n_classes": len(own["dense.weight"]), "channels": channels}, own, {}

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[batch, n_classes]` of levels in dB `[batch, frames, bands]`."""
        return self._classify(self._convolve(x, self.layer_names[-1:])[self.layer_names[-1]])

    def embed(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """The mean over bands and frames of what layers give, `[batch, 1, channels]` each."""
        return {name: cells.mean((2, 3))[:, None] for name, cells in self._convolve(x, layers).items()}

    def forward_and_embed(self, x: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Both from one pass."""
        last = self.layer_names[-1]
        cells = self._convolve(x, [*layers, last])
        return self._classify(cells[last]), {name: cells[name].mean((2, 3))[:, None] for name in layers}

    def _convolve(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Cells `[batch, channels, bands, frames]` of layers; none behind the last of them is computed."""
        if x.ndim != 3 or x.shape[1] < self.min_frames:
            raise ValueError(
                f"got shape {list(x.shape)}: expected [batch, frames, bands], frames at least {self.min_frames}"
            )
        x = self.spec_bn(x.transpose(1, 2)[:, None])
        kept = {}
        for name in self.layer_names[: 1 + max(map(self.layer_names.index, layers))]:
            x = getattr(self, name)(x)
            if name in layers:
                kept[name] = x
        return kept

    def _classify(self, cells: Tensor) -> Tensor:
        return self.dense(self.dropout(cells.mean((2, 3))))
