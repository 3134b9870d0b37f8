"""Harmonic CNN: convolutions over learned harmonic filters, which see the multiples of a note as channels.

Won, Chun, Nieto and Serra, "Data-driven harmonic filters for audio representation learning", ICASSP 2020, in the form
of Won et al., "Evaluation of CNN-based automatic music tagging models", SMC 2020, whose published weights load by their
names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.convolutional import ConvBlock, HiddenLayerTagger, ResBlock
from models.errors import CheckpointError, InputError
from models.frontends.base import FrontEnd
from models.frontends.harmonic import raw_of
from models.initial_weights import State

WINDOW = 80_000  # samples: 5 s at 16 kHz
NOTES = 2**7  # at least: seven layers halve them
PUBLISHED_Q, OWN_Q = "hstft.bw_Q", "frontend.raw_q"


class ResPoolBlock(ResBlock):
    """Two convolutions of 3 x 3 with batch norm, added to the input; then ReLU and max-pooling.

    Args:
        channels: Of input and output.
        pool: Notes and frames that become one.
    """

    def __init__(self, channels: int, pool: tuple[int, int] = (2, 2)) -> None:
        super().__init__(channels, channels, stride=1)
        self.mp = nn.MaxPool2d(pool)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, notes, frames]`, pooled along the last two."""
        return self.mp(super().forward(x))


class HarmonicCNN(HiddenLayerTagger, name="harmonic_cnn"):
    """Seven convolutional layers over the levels of harmonic filters in dB, and two linear layers.

    A window ends in one cell; of longer input the maximum over its cells is classified, as published.

    Args:
        n_classes: Number of logits.
        harmonics: Multiples of each note, the channels of the input.
        channels: Of the first four layers, and of the last three.
        dropout: Rate before the last linear layer.

    Raises:
        ValueError: Other than two numbers of channels.
    """

    frontend = "harmonic"
    derived = ("n_classes", "harmonics")
    window_samples = WINDOW
    window = 1 + WINDOW // 256
    min_frames = 2**5 * 3**2
    layer_names = (*(f"layer{number}" for number in range(1, 8)), "penultimate")
    rebuilt = ("hstft.",)
    stages = 2

    def __init__(
        self, *, n_classes: int = 50, harmonics: int = 6, channels: Sequence[int] = (128, 256), dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.check({"channels": channels})
        self.n_classes = n_classes
        first, last = channels
        self.hstft_bn = nn.BatchNorm2d(harmonics)
        self.layer1 = ConvBlock(harmonics, first)
        self.layer2, self.layer3, self.layer4 = (ResPoolBlock(first) for _ in range(3))
        self.layer5 = ConvBlock(first, last)
        self.layer6, self.layer7 = (ResPoolBlock(last, (2, 3)) for _ in range(2))
        self.make_head(last, last, n_classes, dropout)

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes and harmonics.

        Raises:
            InputError: The front end makes no harmonics, or too few notes.
        """
        shape = frontend.item_shape
        if len(shape) != 2 or shape[1] < NOTES:
            raise InputError(
                f"model.frontend={frontend.name} makes frames of shape {list(shape)}, the network {cls.name} needs "
                f"[harmonics, notes] with at least {NOTES} notes: leave model.frontend out"
            )
        return {"n_classes": n_classes, "harmonics": shape[0]}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """The layout of Won et al.; of their front end Q alone is kept.

        Raises:
            CheckpointError: Its Q is no number above 0.
        """
        found = super().from_published(state)
        if found is None or PUBLISHED_Q not in state:
            return None
        arguments, own, known = found
        q = state[PUBLISHED_Q]
        if q.shape != (1,) or not 0 < float(q) < math.inf:
            raise CheckpointError(f"{PUBLISHED_Q} is {q.tolist()}: expected one number above 0; was the file changed?")
        return arguments, {**own, OWN_Q: torch.tensor([raw_of(float(q))])}, known

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Classes, harmonics and channels."""
        return {
            "n_classes": len(state["dense2.weight"]),
            "harmonics": len(state["hstft_bn.weight"]),
            "channels": [len(state[f"{name}.conv.bias"]) for name in ("layer1", "layer5")],
        }

    def stem(self, x: Tensor) -> Tensor:
        """Levels in dB `[batch, frames, harmonics, notes]` to `[batch, harmonics, notes, frames]`."""
        return self.hstft_bn(x.permute(0, 2, 3, 1))

    def summary(self, cells: Tensor) -> Tensor:
        """The maximum over notes and frames."""
        return cells.amax((2, 3))
