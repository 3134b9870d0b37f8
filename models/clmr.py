"""The encoder of CLMR: a SampleCNN that was published for contrastive learning of musical representations.

Spijkervet and Burgoyne, "Contrastive learning of musical representations", ISMIR 2021. Its published weights load by
their names, those of versions 1 and 2 (`models.clmr_layout`). Initial weights are PyTorch's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from models.arguments import Count, Rate
from models.clmr_layout import width_of
from models.clmr_shapes import SAMPLE_RATE, STRIDES
from models.frontends import build
from models.samplecnn import CHANNELS, DEPTH, SampleCNN
from models.window_encoder import WindowEncoder, make_head

PUBLISHED = re.compile(r"sequential\.\d+\.[01]\.")
PARTS = {"conv": "0", "bn": "1"}


class CLMR(WindowEncoder, SampleCNN, name="clmr"):
    """Eleven convolutional layers, of which the second to the tenth pool, to 512 values of 59,049 samples, and a head.

    Layer n is block n - 1 of the published code. Strides of other sample rates and the channels of the variant XL,
    whose representation has 2,048 values, are in `models.clmr_shapes`.

    Args:
        n_classes: Number of logits; 0 of an encoder alone.
        channels: Of each of the eleven layers.
        strides: Of the second to the tenth layer; the window has three times their product of samples.
        dropout: Rate before the head.
        hidden: Units of a hidden layer of the head; 0 for a linear head.

    Raises:
        ValueError: Arguments of other lengths or ranges.
    """

    title = "CLMR's SampleCNN"

    def __init__(
        self,
        *,
        n_classes: int = 50,
        channels: Sequence[int] = CHANNELS,
        strides: Sequence[int] = STRIDES[SAMPLE_RATE],
        dropout: Rate = 0.5,
        hidden: Count = 0,
    ) -> None:
        super().__init__(
            n_classes=n_classes, channels=channels, strides=strides, padding=0, last_kernel=3, dropout=dropout
        )
        self.max_frames = self.window
        self.dense = make_head(channels[-1], hidden, n_classes)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """See `SampleCNN.check`."""
        super().check({"padding": 0, "last_kernel": 3, **arguments})

    @classmethod
    def is_published(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether there are blocks called `sequential`."""
        return any(PUBLISHED.match(key) for key in state)

    @classmethod
    def published_name(cls, key: str) -> str:
        """`layer3.conv.weight` is `sequential.2.0.weight`."""
        layer, part, kind = key.split(".")
        return f"sequential.{int(layer.removeprefix('layer')) - 1}.{PARTS[part]}.{kind}"

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Channels, and those strides of `STRIDES` that most kernels are of."""
        channels = [width_of(state, f"sequential.{number}") for number in range(DEPTH)]
        kernels = [state.get(f"sequential.{number}.0.weight") for number in range(1, DEPTH - 1)]
        lengths = [None if kernel is None or kernel.ndim < 3 else kernel.shape[2] for kernel in kernels]
        strides = max(
            STRIDES.values(), key=lambda row: sum(one == other for one, other in zip(row, lengths, strict=True))
        )
        return {"channels": channels, "strides": list(strides)}

    @classmethod
    def published_metadata(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The sample rate, by the strides."""
        rate = next(rate for rate, strides in STRIDES.items() if list(strides) == arguments["strides"])
        return {"frontend": build("waveform", sample_rate=rate).description}
