"""FCN: a fully convolutional network over the mel spectrogram of half a minute.

Choi, Fazekas and Sandler, "Automatic tagging using deep convolutional neural networks", ISMIR 2016, in the form of Won
et al., "Evaluation of CNN-based automatic music tagging models", SMC 2020, whose published weights load by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from models.convolutional import ConvBlock, Tagger

WINDOW = 464_000  # samples: 29 s at 16 kHz
POOLS = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))  # bands and frames, layer by layer


class FCN(Tagger, name="fcn"):
    """Five convolutional layers over the level of 96 mel bands in dB, and one linear layer.

    Up to 2,559 frames end in a single cell; of longer input the mean over the cells is classified.

    Args:
        n_classes: Number of logits.
        channels: Of each of the five layers.
        dropout: Rate before the linear layer.

    Raises:
        ValueError: Other than five layers.
    """

    window_samples = WINDOW
    window = 1 + WINDOW // 256
    min_frames = 1280
    min_bands = 96
    layer_names = ("layer1", "layer2", "layer3", "layer4", "layer5")
    head_prefixes = ("dense.",)
    stages = len(POOLS)

    def __init__(
        self, *, n_classes: int = 50, channels: Sequence[int] = (64, 128, 128, 128, 64), dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.check({"channels": channels})
        self.n_classes = n_classes
        width = self.make_stages((partial(ConvBlock, pool=pool) for pool in POOLS), channels)
        self.dense = nn.Linear(width, n_classes)
        self.dropout = nn.Dropout(dropout)

    def classify(self, cells: Tensor) -> Tensor:
        """The mean cell to logits."""
        return self.dense(self.dropout(cells.mean((2, 3))))
