"""CRNN: convolutional layers over the mel spectrogram of half a minute, then recurrent ones along time.

Choi, Fazekas, Sandler and Cho, "Convolutional recurrent neural networks for music classification", ICASSP 2017, in the
form of Won et al., "Evaluation of CNN-based automatic music tagging models", SMC 2020, whose weights load by their
names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from models.convolutional import ConvBlock, Tagger

WINDOW = 464_000  # samples: 29 s at 16 kHz
POOLS = ((2, 2), (3, 3), (4, 4), (4, 4))  # bands and frames, layer by layer
DEPTH = 2  # recurrent layers


class Recurrent(nn.GRU):
    """Gated recurrent units along time; what they know after the last step."""

    def forward(self, cells: Tensor) -> Tensor:
        """`[batch, channels, bands, frames]`, of which bands there is one left, to `[batch, units, 1]`."""
        return super().forward(cells.mean(2).transpose(1, 2))[0][:, -1, :, None]


class CRNN(Tagger, name="crnn"):
    """Four convolutional layers over the level of 96 mel bands in dB, two recurrent ones, and one linear layer.

    A step of the recurrent layers is 96 frames, 1.5 s; longer input has more of them.

    Args:
        n_classes: Number of logits.
        channels: Of each of the four convolutional layers.
        units: Of each of the two recurrent layers.
        dropout: Rate before the linear layer.

    Raises:
        ValueError: Other than four convolutional layers.
    """

    window_samples = WINDOW
    window = 1 + WINDOW // 256
    min_frames = 96
    min_bands = 96
    layer_names = ("layer1", "layer2", "layer3", "layer4", "layer5")
    head_prefixes = ("dense.",)
    stages = len(POOLS)

    def __init__(
        self,
        *,
        n_classes: int = 50,
        channels: Sequence[int] = (64, 128, 128, 128),
        units: int = 32,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.check({"channels": channels})
        self.n_classes = n_classes
        width = self.make_stages((partial(ConvBlock, pool=pool) for pool in POOLS), channels)
        self.layer5 = Recurrent(width, units, DEPTH, batch_first=True)
        self.dense = nn.Linear(units, n_classes)
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Classes, channels and units."""
        return {**super().published_arguments(state), "units": state["dense.weight"].shape[1]}

    def classify(self, cells: Tensor) -> Tensor:
        """Units after the last step to logits."""
        return self.dense(self.dropout(cells[..., 0]))
