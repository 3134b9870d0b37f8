"""MobileNetV2 over tempograms: global tempo from an onset envelope.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, as torchvision has it, with the
names of *tempnetic*, whose weights load. Weights of ImageNet, the release `mobilenet_v2_imagenet`, can be started from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from models.arguments import Count, Rate
from models.initial_weights import LoadReport, State
from models.tempo_image import Features, TempoImage
from models.tempo_network import TempoImageNetwork

STEM = "model.features.0.0.weight"  # [32, image channels, 3, 3]
IMAGES = 3  # channels of an image
DEPTH = 19  # blocks, with the first and the last convolution


class TempoMobileNet(TempoImageNetwork, name="tempo_mobilenet"):
    """MobileNetV2 and one linear layer; any number of frames from 32 on."""

    layer_names = tuple(f"block{number}" for number in range(DEPTH))
    head_prefixes = ("model.classifier.",)

    def __init__(
        self,
        *,
        n_classes: int = 1,
        bands: int = 0,
        features: Features = "tempogram",
        repeat: bool = False,
        width: float = 1.0,
        dropout: Rate = 0.2,
        time_masks: Count = 2,
    ) -> None:
        """A new network, with random weights.

        Args:
            n_classes: Number of logits.
            bands: Of a frame; 0 where it is one value of an onset envelope.
            features: The image: tempogram, tempogram_band, onset or logmel.
            repeat: Show the image three times, as published, where one channel does the same with less work.
            width: Channels of all layers, in units of the published ones.
            dropout: Rate before the linear layer.
            time_masks: Stretches of time that are hidden in training, see `models.tempo_image`.
        """
        super().__init__()
        self.n_classes, self.features, self.repeat = n_classes, features, repeat
        self.image = TempoImage(features, time_masks, bands)
        self.model = mobilenet_v2(width_mult=width)
        self.model.classifier = nn.Linear(self.model.last_channel, n_classes)
        self.dropout = nn.Dropout(dropout)
        if not repeat:
            first = self.model.features[0]
            first[0] = nn.Conv2d(1, first[0].out_channels, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(first[0].weight, mode="fan_out")
        for block in self.model.features.modules():
            if isinstance(block, nn.Sequential):
                block.folds = _folds(block)

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """The layout of *tempnetic*, or of torchvision, whose images have three channels."""
        renamed = {}
        for key, tensor in state.items():
            ours = key if key.startswith(("model.", *cls.rebuilt)) else f"model.{key}"
            renamed[ours.replace("classifier.1.", "classifier.")] = tensor
        return super().from_published(renamed)

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Classes, and whether images have three channels."""
        return {**super().published_arguments(state), "repeat": state[STEM].shape[1] == IMAGES}

    def fit_weights(self, source: Mapping[str, Tensor], name: str, **rules: Any) -> tuple[State, LoadReport]:
        """As of any network; of weights for images the first layer is summed over their three channels."""
        published = self.from_published(source)
        state = dict(source if published is None else published[1])
        summed = STEM in state and state[STEM].shape[1] == IMAGES and not self.repeat
        if summed:
            state[STEM] = state[STEM].sum(1, keepdim=True)
        fitted, report = super().fit_weights(state, name, **rules)
        if summed:
            report.adapted[STEM] = "sum over the three channels of an image"
            report.loaded.remove(STEM)
        return fitted, report

    def stem(self, x: Tensor) -> Tensor:
        """Frames to an image `[batch, 1 or 3, bins, frames]`; of mel bands, as published, `[..., frames, bands]`."""
        image = self.image(x)[:, None]
        image = image.transpose(2, 3) if self.features == "logmel" else image
        return image.expand(-1, IMAGES, -1, -1) if self.repeat else image

    def layer(self, name: str) -> Callable[[Tensor], Tensor]:
        """The block of that number."""
        return self.model.features[int(name.removeprefix("block"))]

    def classify(self, cells: Tensor) -> Tensor:
        """Mean over the image, dropout, linear layer."""
        return self.model.classifier(self.dropout(cells.mean((2, 3))))

    def parameter_layers(self) -> list[list[str]]:
        """Block by block, then the linear layer."""
        layers: list[list[str]] = [[] for _ in range(DEPTH + 1)]
        for name, _ in self.named_parameters():
            block = re.match(r"model\.features\.(\d+)\.", name)
            layers[int(block[1]) if block else DEPTH].append(name)
        return layers


def _folds(block: nn.Sequential) -> dict[str, str]:
    """Its convolutions that have a batch norm behind them, by both names."""
    following = pairwise(block.named_children())
    return {
        name: after
        for (name, module), (after, norm) in following
        if isinstance(module, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    }
