"""TUNe and TUNe+: a U-Net over the samples of a window, and a tail that takes its output down to one vector.

Vélez Vásquez and Burgoyne, "Tailed U-Net: multi-scale music representation learning", ISMIR 2022. The tail pools on
from what the U of `models.unet` gives; in TUNe+ it also sees what the levels of its lengths gave on the way up. One
class has the whole family of the paper (`models.tune_variants`), but for its hybrid, `models.tune_hybrid`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from models.arguments import Count, Positive
from models.clmr_layout import width_of
from models.unet import DOWN, SAMPLECNN, NormedConv, UNet
from models.window_encoder import make_head

LEVELS = 10  # poolings from a window to one cell
PUBLISHED = re.compile(r"conv(Down)?\d+\.layers\.[01]\.")
UPSAMPLING = re.compile(r"transposedConv(\d+)\.")
TAIL = re.compile(r"convDown(\d+)\.")


class TUNe(UNet, name="tune"):
    """Blocks `conv1`, `conv2`, ... down to the bottom and up again, a tail `convDown1`, `convDown2`, ..., and a head.

    The token of a block is the mean over time of what it gives, that of the last one is the representation.

    Args:
        n_classes: Number of logits; 0 of an encoder alone.
        width: Channels of the first block.
        levels_down: Poolings on the way to the bottom of the U.
        levels_up: Upsamplings from there.
        tail: Channels of the blocks of the tail but for the last one.
        size: Values of the representation, the channels of the last block.
        connections: Whether the tail sees what the U gave on its way up, as in TUNe+.
        hidden: Units of a hidden layer of the head; 0 for a linear head.

    Raises:
        ValueError: The levels do not fit into a window.
    """

    title = "TUNe"
    head_prefixes = ("fc.",)

    def __init__(
        self,
        *,
        n_classes: int = 50,
        width: Positive = 11,
        levels_down: Positive = 4,
        levels_up: Positive = 4,
        tail: Sequence[Positive] = (22, 44, 88, 176, 352, 352, 352, 352),
        size: Positive = 512,
        connections: bool = False,
        hidden: Count = 0,
    ) -> None:
        super().__init__()
        self.check({"levels_down": levels_down, "levels_up": levels_up, "tail": tail})
        self.n_classes = n_classes
        channels, top = self.make_unet(width, levels_down, levels_up), levels_down + 1 + levels_up
        down = {f"convDown{number}": wide for number, wide in enumerate((*tail, size), start=1)}
        if connections:
            reached = range(1, 1 + min(levels_up, len(down)))
            self.joined |= {f"convDown{number}": f"conv{top - number}" for number in reached}
        channels |= down
        for before, name in pairwise((self.layer_names[-1], *down)):
            beside = channels[self.joined[name]] if name in self.joined else 0
            setattr(self, name, NormedConv(channels[before] + beside, channels[name]))
        self.layer_names = tuple(channels)
        self.fc = make_head(size, hidden, n_classes)
        if n_classes and not hidden:
            nn.init.xavier_uniform_(self.fc.weight)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """A window has ten levels."""
        down, up, tail = arguments["levels_down"], arguments["levels_up"], arguments["tail"]
        if not 1 <= up <= down <= LEVELS:
            raise ValueError(f"levels_down={down}, levels_up={up}: expected 1 to {LEVELS}, and no more up than down")
        if down - up + len(tail) + 1 > LEVELS:
            raise ValueError(
                f"tail={list(tail)}: with levels_down={down} and levels_up={up} a window is pooled to one cell before "
                f"its end; give at most {LEVELS - 1 - down + up} numbers"
            )

    def classify(self, cells: Tensor) -> Tensor:
        """The mean cell to logits."""
        return self.fc(cells.mean(2))

    @classmethod
    def is_published(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether there are blocks with `layers`, and no SampleCNN behind them."""
        return any(PUBLISHED.match(key) for key in state) and not any(key.startswith(SAMPLECNN) for key in state)

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Everything by names and widths, but for the connections, which the first block of the tail tells."""
        upsamplings = sorted({int(found[1]) for key in state if (found := UPSAMPLING.match(key))})
        bottom = upsamplings[0] - 1 if upsamplings else DOWN + 1
        up = len(upsamplings) or DOWN
        tail = max(1, len({found[1] for key in state if (found := TAIL.match(key))}))
        widths = [width_of(state, f"convDown{number}") for number in range(1, tail + 1)]
        first = state.get("convDown1.layers.0.weight")
        alone = width_of(state, f"conv{bottom + up}")
        return {
            "width": width_of(state, "conv1"),
            "levels_down": bottom - 1,
            "levels_up": up,
            "tail": widths[:-1],
            "size": widths[-1],
            "connections": first is not None and tuple(first.shape[1:2]) != (alone,),
        }
