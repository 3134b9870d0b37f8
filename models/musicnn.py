"""Musicnn: filters shaped like timbres and rhythms over the mel spectrogram of three seconds.

Pons et al., "End-to-end learning for music audio tagging at scale", ISMIR 2018, in the form of Won et al., "Evaluation
of CNN-based automatic music tagging models", SMC 2020, whose weights load by their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.convolutional import HiddenLayerTagger
from models.fused_norms import is_plain

WINDOW = 48_000  # samples: 3 s at 16 kHz
HEIGHTS = (67, 38)  # bands: 0.7 and 0.4 of 96
LENGTHS = (129, 65, 33)  # frames: 2.1, 1.0 and 0.5 s
FRAMES = 7  # of a timbre, and of the layers in the middle


class Timbral(nn.Module):
    """Filters that are high and short, wherever in the spectrum they fit best.

    Args:
        channels: Of the output.
        height: Bands of a filter.

    Attributes:
        one_by_one: Convolve one window after another on a CPU, for inference: a map of 9 MB stays in the cache, those
            of 16 windows take twice the time.
    """

    folds: ClassVar[Mapping[str, str]] = {"conv": "bn"}
    one_by_one: bool = False

    def __init__(self, channels: int, height: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, (height, FRAMES), padding=(0, FRAMES // 2))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 1, bands, frames]` to `[batch, channels, frames]`."""
        parts = x.split(1) if self.one_by_one and x.device.type == "cpu" else [x]
        return torch.relu(torch.cat([self._highest(self.bn(self._convolved(part))) for part in parts]))

    def _convolved(self, x: Tensor) -> Tensor:
        """The convolution; in training on a CPU with the frames of a filter as channels, for a faster gradient."""
        if not (self.training and x.requires_grad and x.device.type == "cpu" and is_plain(self.conv)):
            return self.conv(x)
        shifted = F.pad(x[:, 0], self.conv.padding[1:] * 2).unfold(2, FRAMES, 1).permute(0, 3, 1, 2)
        return F.conv2d(shifted, self.conv.weight.transpose(1, 3), self.conv.bias)

    def _highest(self, cells: Tensor) -> Tensor:
        """The maximum over bands, before the ReLU, which then has a fraction to do."""
        return cells.max(2).values if self.training else cells.amax(2)  # with a faster gradient, or the faster value


class Line(nn.Module):
    """A convolution along time, batch norm, ReLU.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        length: Frames of a filter.
    """

    folds: ClassVar[Mapping[str, str]] = {"conv": "bn"}

    def __init__(self, channels_in: int, channels: int, length: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels, length, padding=length // 2)
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, frames]`, as many frames."""
        return torch.relu(self.bn(self.conv(x)))


class Musicnn(HiddenLayerTagger, name="musicnn"):
    """Five kinds of filters over the level of 96 mel bands in dB, three layers along time, two linear ones.

    Each of the layers along time but the first is added to its input; the maximum and the mean are of all of them and
    of the filters. Any length will do.

    Args:
        n_classes: Number of logits.
        timbral: Filters of each of the two heights.
        temporal: Filters of each of the three lengths, over the mean of the bands.
        middle: Channels of the layers along time; 512 where it was trained on the Million Song Dataset.
        hidden: Width of the hidden layer; 500 where it was trained on the Million Song Dataset.
        dropout: Rate before the last linear layer.
    """

    window_samples = WINDOW
    window = 1 + WINDOW // 256
    min_frames = 1
    min_bands = max(HEIGHTS)
    layer_names = ("front", "layer1", "layer2", "layer3", "penultimate")
    within: ClassVar[Mapping[str, str]] = {**HiddenLayerTagger.within, "layers": "front"}

    def __init__(
        self,
        *,
        n_classes: int = 50,
        timbral: int = 204,
        temporal: int = 51,
        middle: int = 64,
        hidden: int = 200,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.spec_bn = nn.BatchNorm2d(1)
        filters = [Timbral(timbral, height) for height in HEIGHTS]
        self.layers = nn.ModuleList([*filters, *(Line(1, temporal, length) for length in LENGTHS)])
        width = len(HEIGHTS) * timbral + len(LENGTHS) * temporal
        self.layer1 = Line(width, middle, FRAMES)
        self.layer2 = Line(middle, middle, FRAMES)
        self.layer3 = Line(middle, middle, FRAMES)
        self.make_head(2 * (width + 3 * middle), hidden, n_classes, dropout)

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Classes and widths."""
        widths = {
            "n_classes": "dense2.bias",
            "timbral": "layers.0.conv.bias",
            "temporal": f"layers.{len(HEIGHTS)}.conv.bias",
            "middle": "layer1.conv.bias",
            "hidden": "dense1.bias",
        }
        return {argument: len(state[key]) for argument, key in widths.items()}

    def prepared(self) -> Musicnn:
        """With a window at a time."""
        network = super().prepared()
        for layer in network.layers[: len(HEIGHTS)]:
            layer.one_by_one = True
        return network

    def front(self, x: Tensor) -> Tensor:
        """All filters, `[batch, 2 timbral + 3 temporal, frames]`."""
        timbral, temporal = self.layers[: len(HEIGHTS)], self.layers[len(HEIGHTS) :]
        mean = x.mean(2)
        return torch.cat([*(layer(x) for layer in timbral), *(layer(mean) for layer in temporal)], 1)

    def run_layers(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """As every tagger; the hidden layer sees all before it."""
        self.check_frames(x)
        outputs = {"front": self.front(self.stem(x))}
        for before, name in pairwise(self.layers_up_to(layers)):
            if name == "penultimate":
                outputs[name] = self.penultimate(torch.cat([*outputs.values()], 1))
            else:
                skipped = 0 if before == "front" else outputs[before]
                outputs[name] = getattr(self, name)(outputs[before]) + skipped
        return {name: outputs[name] for name in layers}

    def summary(self, cells: Tensor) -> Tensor:
        """Maximum and mean over time."""
        return torch.cat([cells.amax(2), cells.mean(2)], 1)
