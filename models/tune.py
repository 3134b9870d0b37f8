"""TUNe and TUNe+: a U-Net over the samples of a window, and a tail that takes its output down to one vector.

Vélez Vásquez and Burgoyne, "Tailed U-Net: multi-scale music representation learning", ISMIR 2022. Channels double on
the way down, every step by a max-pooling of 3, and halve on the way up, where each level also sees what the level of
its length gave on the way down. The tail pools on; in TUNe+ it also sees what the levels of its lengths gave on the
way up. One class has the whole family of the paper (`models.tune_variants`), but for its hybrid of a U-Net and a
SampleCNN, which are two networks one behind the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from models.arguments import Count, Positive
from models.batch_norm import SmallBatchNorm
from models.clmr_layout import width_of
from models.clmr_shapes import WINDOW
from models.fused_rows import joined, norm_pooled, upsampled
from models.window_encoder import WindowEncoder, make_head

POOL = 3
LEVELS = 10  # poolings from a window to one cell
DOWN = 4  # levels of the published networks
PUBLISHED = re.compile(r"conv(Down)?\d+\.layers\.[01]\.")
UPSAMPLING = re.compile(r"transposedConv(\d+)\.")
TAIL = re.compile(r"convDown(\d+)\.")


class Layers(nn.Sequential):
    """Convolution and batch norm.

    Attributes:
        folds: See `models.folding`.
    """

    folds: ClassVar[Mapping[str, str]] = {"0": "1"}


class NormedConv(nn.Module):
    """Convolution over three cells, batch norm, max-pooling if any, ReLU.

    Args:
        channels_in: Of the input.
        channels: Of the output.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        conv = nn.Conv1d(channels_in, channels, 3, padding=1)
        nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
        self.layers = Layers(conv, SmallBatchNorm(channels))

    def forward(self, x: Tensor, pool: int = 1) -> Tensor:
        """`[batch, channels_in, cells]` to `[batch, channels, cells // pool]`."""
        return norm_pooled(x, *self.layers, pool)


class TUNe(WindowEncoder, name="tune"):
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
    window_samples = WINDOW
    window = min_frames = max_frames = WINDOW
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
        bottom, top = levels_down + 1, levels_down + 1 + levels_up
        channels = {f"conv{number}": width * 2 ** (number - 1) for number in range(1, bottom + 1)}
        channels |= {f"conv{number}": channels[f"conv{2 * bottom - number}"] for number in range(bottom + 1, top + 1)}
        down = {f"convDown{number}": wide for number, wide in enumerate((*tail, size), start=1)}
        self.layer_names = (*channels, *down)
        self.upsamplings = {f"conv{number}": f"transposedConv{number}" for number in range(bottom + 1, top + 1)}
        # Which block's output a block sees besides that of the block before it.
        self.joined = {f"conv{number}": f"conv{2 * bottom - number}" for number in range(bottom + 1, top + 1)}
        if connections:
            reached = range(1, 1 + min(levels_up, len(down)))
            self.joined |= {f"convDown{number}": f"conv{top - number}" for number in reached}
        channels |= down
        self.conv1 = NormedConv(1, width)
        for before, name in pairwise(self.layer_names):
            seen = channels[before]
            if name in self.upsamplings:
                seen = channels[name]
                setattr(self, self.upsamplings[name], nn.ConvTranspose1d(channels[before], seen, POOL, POOL))
            seen += channels[self.joined[name]] if name in self.joined else 0
            setattr(self, name, NormedConv(seen, channels[name]))
        self.within = {module: name for name, module in self.upsamplings.items()}
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

    def stem(self, x: Tensor) -> Tensor:
        """Samples `[batch, samples]` to `[batch, 1, samples]`."""
        return x[:, None]

    def run_layers(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """What blocks give, `[batch, channels, cells]` by name; none behind the last of them is computed.

        What nothing else sees is pooled with the block itself, and what is not needed any more is let go, which leaves
        memory for larger batches.

        Raises:
            ValueError: Another length than `window`.
        """
        self.check_frames(x)
        x, outputs, names = self.stem(x), {}, self.layers_up_to(layers)
        lasting = {*layers, *(self.joined[name] for name in names if name in self.joined)}
        for name, following in zip(names, (*names[1:], ""), strict=True):
            if name in self.upsamplings:
                x = upsampled(x, self.layer(self.upsamplings[name]))
            if beside := self.joined.get(name):
                x = joined(x, outputs[beside] if beside in layers else outputs.pop(beside))
            pools = following not in ("", *self.upsamplings)
            x = self.layer(name)(x, POOL if pools and name not in lasting else 1)
            if name in lasting:
                outputs[name] = x
                x = F.max_pool1d(x, POOL) if pools else x
        return {name: outputs[name] for name in layers}

    def classify(self, cells: Tensor) -> Tensor:
        """The mean cell to logits."""
        return self.fc(cells.mean(2))

    @classmethod
    def is_published(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether there are blocks with `layers`."""
        return any(PUBLISHED.match(key) for key in state)

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
