"""Short-chunk CNN and short-chunk ResNet: small filters, seven halvings and a global maximum, over 3.7 seconds.

Won, Ferraro, Bogdanov and Serra, "Evaluation of CNN-based automatic music tagging models", SMC 2020, whose weights load
by their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from models.convolutional import ConvBlock, HiddenLayerTagger, ResBlock

WINDOW = 59_049  # samples at 16 kHz, 3.69 s: 3 ** 10, as SampleCNN needs it
LAYERS = tuple(f"layer{number}" for number in range(1, 8))


class ShortChunkCNN(HiddenLayerTagger, name="short_chunk"):
    """Seven convolutional layers over the level of 128 mel bands in dB, each halving bands and frames.

    What is left of bands and frames is reduced to its maximum, so that any longer input will do.

    Args:
        n_classes: Number of logits.
        channels: Of each of the seven layers; the last number is the width of the hidden layer, too.
        dropout: Rate before the last linear layer.

    Raises:
        ValueError: Other than seven layers.
    """

    frontend_arguments: ClassVar[Mapping[str, Any]] = {"bands": 128}
    window_samples = WINDOW
    window = 1 + WINDOW // 256
    min_frames = 128
    min_bands = 128
    layer_names = (*LAYERS, "penultimate")
    stages = len(LAYERS)
    block: ClassVar[type[nn.Module]] = ConvBlock

    def __init__(
        self,
        *,
        n_classes: int = 50,
        channels: Sequence[int] = (128, 128, 256, 256, 256, 256, 512),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.check({"channels": channels})
        self.n_classes = n_classes
        width = self.make_stages([self.block] * len(channels), channels)
        self.make_head(width, width, n_classes, dropout)

    def summary(self, cells: Tensor) -> Tensor:
        """The maximum over bands and frames."""
        return cells.amax((2, 3))


class ShortChunkResNet(ShortChunkCNN, name="short_chunk_res"):
    """The same of seven residual blocks, which halve by strides instead of maxima; any length and number of bands.

    Three times the parameters of the plain network at less than its cost: already the first convolution halves.
    """

    min_frames = 1
    min_bands = 1
    block = ResBlock
