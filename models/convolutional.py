"""What convolutional taggers share: blocks of layers, and a network that runs its layers one after the other.

The names of the layers are those of Won et al., "Evaluation of CNN-based automatic music tagging models", SMC 2020, so
that the weights they publish load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.initial_weights import State
from models.network import Network

Pair = int | tuple[int, int]


class ConvBlock(nn.Module):
    """Convolution of 3 x 3, batch norm, ReLU, max-pooling.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        pool: Bands and frames that become one.
    """

    def __init__(self, channels_in: int, channels: int, pool: tuple[int, int] = (2, 2)) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.mp = nn.MaxPool2d(pool)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, bands, frames]`, pooled along the last two."""
        return self.mp(torch.relu(self.bn(self.conv(x))))


class ResBlock(nn.Module):
    """Two convolutions of 3 x 3 with batch norm beside a third, which is the shortcut where the shape changes.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        stride: Of the first convolution and of the shortcut: bands and frames.
    """

    def __init__(self, channels_in: int, channels: int, stride: Pair = 2) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1)
        self.bn_1 = nn.BatchNorm2d(channels)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn_2 = nn.BatchNorm2d(channels)
        self.reshapes = stride not in (1, (1, 1)) or channels_in != channels
        if self.reshapes:
            self.conv_3 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1)
            self.bn_3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, bands, frames]`, fewer bands and frames by the stride."""
        shortcut = self.bn_3(self.conv_3(x)) if self.reshapes else x
        x = torch.relu(self.bn_1(self.conv_1(x)))
        return torch.relu(self.bn_2(self.conv_2(x)) + shortcut)


class Tagger(Network):
    """Layers that run one after the other, and a classifier of what the last of them gives.

    A subclass makes the modules that `layer_names` names, in the order in which they run, and defines `stem`,
    `classify` and, where its weights are published, `published_arguments`.

    Attributes:
        rebuilt: Beginnings of the names of tensors in published files that belong to the front end, which is built
            anew.
    """

    frontend = "mel_db"
    input = "audio"
    coverage = "spread"
    rebuilt: ClassVar[tuple[str, ...]] = ("spec.",)

    def stem(self, x: Tensor) -> Tensor:
        """Frames `[batch, frames, *item_shape]` to the input of the first layer, `[batch, channels, ...]`."""
        raise NotImplementedError

    def classify(self, cells: Tensor) -> Tensor:
        """Output of the last layer, `[batch, channels, ...]`, to logits `[batch, n_classes]`."""
        raise NotImplementedError

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Arguments of the constructor by the shapes of tensors, whose names are those of this class."""
        return {}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """The layout of Won et al.; what their files hold of the front end is built anew."""
        own = {key: tensor for key, tensor in state.items() if not key.startswith(cls.rebuilt)}
        with torch.device("meta"):
            expected = cls().state_dict()
        if own.keys() != expected.keys() or any(own[key].ndim != tensor.ndim for key, tensor in expected.items()):
            return None
        return cls.published_arguments(own), own, {}

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[batch, n_classes]` of frames `[batch, frames, *item_shape]`."""
        last = self.layer_names[-1]
        return self.classify(self.run_layers(x, [last])[last])

    def embed(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """The mean over everything but channels of what layers give, `[batch, 1, channels]` each."""
        return {name: pooled(cells) for name, cells in self.run_layers(x, layers).items()}

    def forward_and_embed(self, x: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Both from one pass."""
        last = self.layer_names[-1]
        cells = self.run_layers(x, [*layers, last])
        return self.classify(cells[last]), {name: pooled(cells[name]) for name in layers}

    def run_layers(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """What layers give, `[batch, channels, ...]` by name; none behind the last of them is computed.

        Raises:
            ValueError: Fewer frames than `min_frames`.
        """
        if x.ndim < 2 or x.shape[1] < self.min_frames:
            raise ValueError(
                f"got shape {list(x.shape)}: expected [batch, frames, ...], frames at least {self.min_frames}"
            )
        x, kept = self.stem(x), {}
        for name in self.layer_names[: 1 + max(map(self.layer_names.index, layers))]:
            x = getattr(self, name)(x)
            if name in layers:
                kept[name] = x
        return kept

    def parameter_layers(self) -> list[list[str]]:
        """The stem, every layer, the classifier."""
        depth = {name: number for number, name in enumerate(self.layer_names, start=1)}
        layers: list[list[str]] = [[] for _ in range(len(depth) + 2)]
        for name, _ in self.named_parameters():
            heads = len(layers) - 1 if name.startswith(self.head_prefixes) else 0
            layers[depth.get(name.partition(".")[0], heads)].append(name)
        return layers


def pooled(cells: Tensor) -> Tensor:
    """`[batch, channels, ...]` to the mean over all behind the channels, `[batch, 1, channels]`."""
    return cells.flatten(2).mean(2)[:, None]
