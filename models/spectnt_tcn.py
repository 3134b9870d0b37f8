"""SpecTNT and a temporal convolutional network side by side: the mean of their logits, trained together.

Hung, Wang, Song, Lu and Won, "Modeling beats and downbeats with a time-frequency transformer", ICASSP 2022, names the
pair "SpecTNT-TCN" and leaves open where the two meet. Here they see the same front end and meet in their outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from models.arguments import Positive, Rate
from models.folding import fold
from models.frontends.base import FrontEnd
from models.network import Network
from models.spectnt_beats import SpecTNTBeats
from models.tcn import TCN


class SpecTNTTCN(Network, name="spectnt_tcn"):
    """The mean of the logits of `SpecTNTBeats` and of `TCN`, whose frames are averaged to the steps of the former.

    Args:
        n_classes: Number of logits.
        harmonics: Maps of the front end.
        notes: Of each map.
        channels: Of SpecTNT: width of the tokens of a frame.
        dim: Of SpecTNT: width of the tokens along time.
        blocks: Of SpecTNT.
        spectral_heads: Of SpecTNT: attention heads over frequencies; must divide `channels`.
        temporal_heads: Of SpecTNT: attention heads over time; twice as many must divide `dim`.
        ratio: Of SpecTNT: width of the hidden layers of a block in units of `channels` and `dim`.
        dropout: Rate in both.
        pools: Of SpecTNT's residual units, one each: notes and frames that become one.
        tcn_channels: Of the convolutional network.
        tcn_blocks: Of the convolutional network.
        sum_rule: Whether the logit of a downbeat is added to that of a beat, where these are the two outputs.

    Raises:
        ValueError: As of `SpecTNTBeats`.
    """

    frontend = SpecTNTBeats.frontend
    frontend_arguments = SpecTNTBeats.frontend_arguments
    input = "audio"
    seconds = SpecTNTBeats.seconds
    over_time = True
    derived = SpecTNTBeats.derived
    layer_names = ("last",)
    token_names = SpecTNTBeats.token_names
    head_prefixes: ClassVar[tuple[str, ...]] = ("spectnt.head.", "tcn.head.")

    def __init__(
        self,
        *,
        n_classes: int = 2,
        harmonics: int = 6,
        notes: int = 128,
        channels: Positive = 64,
        dim: Positive = 256,
        blocks: Positive = 5,
        spectral_heads: Positive = 4,
        temporal_heads: Positive = 8,
        ratio: float = 4.0,
        dropout: Rate = 0.15,
        pools: Sequence[tuple[Positive, Positive]] = ((2, 2), (2, 1), (2, 1)),
        tcn_channels: Positive = 20,
        tcn_blocks: Positive = 11,
        sum_rule: bool = True,
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {"n_classes": n_classes, "dropout": dropout, "sum_rule": sum_rule}
        self.n_classes = n_classes
        self.spectnt = SpecTNTBeats(
            harmonics=harmonics,
            notes=notes,
            channels=channels,
            dim=dim,
            blocks=blocks,
            spectral_heads=spectral_heads,
            temporal_heads=temporal_heads,
            ratio=ratio,
            pools=pools,
            **common,
        )
        self.tcn = TCN(maps=harmonics, bands=notes, channels=tcn_channels, blocks=tcn_blocks, **common)
        self.pool, self.min_frames, self.margin = self.spectnt.pool, self.spectnt.min_frames, self.spectnt.margin

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes, maps and notes."""
        return SpecTNTBeats.derive(frontend, frames, n_classes)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """As SpecTNT's."""
        SpecTNTBeats.check(arguments)

    def forward(self, x: Tensor) -> Tensor:
        """Levels in dB `[batch, frames, harmonics, notes]` to logits `[batch, steps, n_classes]`."""
        spectnt, tcn = self._cells(x)
        return self._logits(spectnt, tcn)

    def embed(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """What both classify, one behind the other, `[batch, steps, dim + tcn_channels]`."""
        return {"last": self._tokens(*self._cells(x))}

    def forward_and_embed(self, x: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Both from one pass."""
        cells = self._cells(x)
        return self._logits(*cells), {"last": self._tokens(*cells)}

    def _cells(self, x: Tensor) -> tuple[Any, Tensor]:
        """What the last block of each gives."""
        return tuple(
            part.run_layers(seen, part.layer_names[-1:])[part.layer_names[-1]]
            for part, seen in ((self.spectnt, x), (self.tcn, self._scaled(x)))
        )

    def _logits(self, spectnt: Any, tcn: Tensor) -> Tensor:
        if not self.n_classes:  # there is nothing to average
            return self.spectnt.classify(spectnt)
        return (self.spectnt.classify(spectnt) + averaged(self.tcn.classify(tcn), self.pool)) / 2

    def _tokens(self, spectnt: Any, tcn: Tensor) -> Tensor:
        return torch.cat([self.spectnt.tokens(spectnt), averaged(self.tcn.tokens(tcn), self.pool)], 2)

    def _scaled(self, x: Tensor) -> Tensor:
        """By SpecTNT's batch norm of the maps, which the convolutional network has none of."""
        return self.spectnt.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def prepared(self) -> Self:
        """With batch norm folded into the convolutions; equal up to rounding."""
        return fold(super().prepared())

    def no_weight_decay(self) -> tuple[str, ...]:
        """Positions and class tokens."""
        return tuple(f"spectnt.{name}" for name in self.spectnt.no_weight_decay())


def averaged(frames: Tensor, pool: int) -> Tensor:
    """Means of every `pool` frames, `[batch, frames, values]` to `[batch, frames // pool, values]`."""
    return F.avg_pool1d(frames.transpose(1, 2), pool).transpose(1, 2)
