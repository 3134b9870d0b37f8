"""SpecTNT for beats and downbeats: harmonic filters, residual convolutions, attention over frequency and over time.

Hung, Wang, Song, Lu and Won, "Modeling beats and downbeats with a time-frequency transformer", ICASSP 2022. The paper
leaves the resolution in time open. Here a step is 20 ms: that of the beats that it is judged by is 70 ms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from models.arguments import Positive, Rate
from models.errors import InputError
from models.frontends.base import FrontEnd
from models.over_time import OverTime
from models.spectnt import SpecTNTBlock, Start, Tokens, check_heads

MARGIN = (
    16  # steps at the ends of a window: what a loss that tolerates shifts does not train, and the convolutions' reach
)


class SpecTNTBeats(OverTime, name="spectnt_beats"):
    """Residual units over the maps of harmonic filters, and blocks; an output for every step.

    The bandwidth of the filters is learned with the rest. No weight depends on the length of the input. The default
    size, with three outputs, has 4,558,671 parameters.

    Args:
        n_classes: Number of logits.
        harmonics: Maps of the front end.
        notes: Of each map.
        channels: Width of the tokens of a frame, and of the residual units.
        dim: Width of the tokens along time.
        blocks: Number of blocks.
        spectral_heads: Attention heads over frequencies; must divide `channels`.
        temporal_heads: Attention heads over time; twice as many must divide `dim`.
        ratio: Width of the hidden layers of a block in units of `channels` and `dim`.
        dropout: Rate in the blocks.
        pools: Of the residual units, one each: notes and frames that become one.
        sum_rule: Whether the logit of a downbeat is added to that of a beat, where these are the two outputs.

    Raises:
        ValueError: The heads do not divide the widths, or there is no residual unit.
    """

    frontend = "harmonic"
    frontend_arguments: ClassVar[Mapping[str, Any]] = {"hop": 160, "n_fft": 1024}
    derived = ("n_classes", "harmonics", "notes")

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
        sum_rule: bool = True,
    ) -> None:
        super().__init__()
        heads = (spectral_heads, temporal_heads)
        self.check(
            {"channels": channels, "dim": dim, "spectral_heads": heads[0], "temporal_heads": heads[1], "pools": pools}
        )
        pools = [(tall, wide) for tall, wide in pools]
        self.pool = math.prod(wide for _, wide in pools)
        self.min_frames, self.margin = self.pool, MARGIN * self.pool
        self.layer_names = tuple(f"block{number}" for number in range(1, blocks + 1))
        self.norm = nn.BatchNorm2d(harmonics)
        self.start = Start(harmonics, notes, channels, dim, pools, class_token=False)
        for name in self.layer_names:
            setattr(self, name, SpecTNTBlock(channels, dim, heads, ratio, dropout, last=name == self.layer_names[-1]))
        self.make_head(dim, n_classes, sum_rule)

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes, maps and notes.

        Raises:
            InputError: The front end makes no maps.
        """
        shape = frontend.item_shape
        if len(shape) != 2:
            raise InputError(
                f"model.frontend={frontend.name} makes frames of shape {list(shape)}, the network {cls.name} needs "
                f"[harmonics, notes]: leave model.frontend out"
            )
        return {"n_classes": n_classes, "harmonics": shape[0], "notes": shape[1]}

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """As SpecTNT's, and at least one residual unit."""
        check_heads(arguments)
        if not arguments["pools"]:
            raise ValueError("pools=[]: expected notes and frames for each residual unit, such as [[2,2],[2,1]]")

    def stem(self, x: Tensor) -> Tokens:
        """Levels in dB `[batch, frames, harmonics, notes]` to the tokens of the first block."""
        return self.start(self.norm(x.permute(0, 2, 3, 1)))

    def tokens(self, cells: Tokens) -> Tensor:
        """The tokens along time, `[batch, steps, dim]`."""
        return cells.steps

    def no_weight_decay(self) -> tuple[str, ...]:
        """Positions and class tokens."""
        return tuple(f"start.{name}" for name, _ in self.start.named_parameters(recurse=False))
