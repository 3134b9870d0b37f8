"""Temporal convolutional network for beats and downbeats: convolutions that look ever further along time.

Böck and Davies, "Deconstruct, Analyse, Reconstruct: How to improve tempo, beat, and downbeat estimation", ISMIR 2020,
without its head for tempo. That of Davies and Böck, "Temporal convolutional networks for musical audio beat tracking",
EUSIPCO 2019, has one convolution a block (`rates=[1]`), 16 channels and other kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.arguments import Positive, Rate
from models.dropout import Dropout
from models.errors import InputError
from models.frontends.base import FrontEnd
from models.over_time import OverTime

MARGIN = 100  # frames; the last blocks look further, but the nearest beats tell most


class Dilated(nn.Module):
    """A block: convolutions side by side along time, and a way past them.

    Args:
        channels_in: Of the input.
        channels: Of the output.
        width: Values along time that a convolution takes, an odd number.
        dilations: Frames between these, of each convolution.
        dropout: Rate of whole channels.
    """

    def __init__(self, channels_in: int, channels: int, width: int, dilations: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(channels_in, channels, width, padding=width // 2 * dilation, dilation=dilation)
            for dilation in dilations
        )
        self.dropout = nn.Dropout1d(dropout)
        self.skip = nn.Conv1d(len(dilations) * channels, channels, 1)
        self.residual = nn.Conv1d(channels_in, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, frames]`."""
        beside = elu(torch.cat([conv(x) for conv in self.convs], 1))
        return self.residual(x) + self.skip(self.dropout(beside))


class TCN(OverTime, name="tcn"):
    """Convolutions over time and frequency until few bands are left, then blocks along time.

    Every frame of the front end gets an output. The default size has 65,962 parameters.

    Args:
        n_classes: Number of logits.
        maps: Of the front end.
        bands: Of each map.
        channels: Of all layers.
        blocks: Number of blocks; each looks twice as far as the one before.
        kernels: Of the first convolutions, one each: frames, an odd number, and bands. They do not pad bands.
        pools: Bands that become one behind each.
        width: Frames that a convolution of a block takes, an odd number.
        rates: Frames between them in the first block, of each convolution of a block.
        dropout: Rate.
        sum_rule: Whether the logit of a downbeat is added to that of a beat, where these are the two outputs.

    Raises:
        ValueError: Kernels and pools of different number, an even number of frames, or no rates.
        InputError: Fewer bands than the first convolutions take.
    """

    frontend = "log_bands"
    input = "features"
    derived = ("n_classes", "maps", "bands")
    margin = MARGIN

    def __init__(
        self,
        *,
        n_classes: int = 2,
        maps: int = 1,
        bands: int = 81,
        channels: Positive = 20,
        blocks: Positive = 11,
        kernels: Sequence[tuple[Positive, Positive]] = ((3, 3), (1, 10), (3, 3)),
        pools: Sequence[Positive] = (3, 3, 3),
        width: Positive = 5,
        rates: Sequence[Positive] = (1, 2),
        dropout: Rate = 0.15,
        sum_rule: bool = False,
    ) -> None:
        super().__init__()
        self.check({"kernels": kernels, "pools": pools, "width": width, "rates": rates})
        self.maps, self.pools = maps, list(pools)
        self.edge = sum(frames - 1 for frames, _ in kernels) // 2
        inputs = [maps] + [channels] * (len(kernels) - 1)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels_in, channels, tuple(kernel)) for channels_in, kernel in zip(inputs, kernels, strict=True)
        )
        left = bands_left(bands, kernels, pools)
        self.dropout = Dropout(dropout)
        self.layer_names = tuple(f"block{number}" for number in range(1, blocks + 1))
        for number, name in enumerate(self.layer_names):
            dilations = [rate * 2**number for rate in rates]
            setattr(self, name, Dilated(channels if number else channels * left, channels, width, dilations, dropout))
        self.make_head(channels, n_classes, sum_rule)

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes, maps and bands.

        Raises:
            InputError: The front end makes neither bands nor maps of bands.
        """
        shape = frontend.item_shape
        if len(shape) not in (1, 2):
            raise InputError(
                f"model.frontend={frontend.name} makes frames of shape {list(shape)}, the network {cls.name} needs "
                f"[bands] or [maps, bands]: leave model.frontend out"
            )
        return {"n_classes": n_classes, "maps": math.prod(shape[:-1]), "bands": shape[-1]}

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """As many pools as kernels; convolutions with a middle."""
        kernels, pools = arguments["kernels"], arguments["pools"]
        if not kernels or len(kernels) != len(pools) or not arguments["rates"]:
            raise ValueError(
                f"{len(kernels)} kernels, {len(pools)} pools, {len(arguments['rates'])} rates: expected a pool for "
                f"each kernel, and at least one of all"
            )
        if even := [frames for frames in (*(kernel[0] for kernel in kernels), arguments["width"]) if frames % 2 == 0]:
            raise ValueError(f"kernels or width of {even[0]} frames: expected an odd number")

    def stem(self, x: Tensor) -> Tensor:
        """Frames `[batch, frames, bands]` or `[batch, frames, maps, bands]` to `[batch, channels, frames]`.

        The frames at the ends are repeated for the convolutions.
        """
        x = x.flatten(2).transpose(1, 2)
        x = F.pad(x, (self.edge, self.edge), mode="replicate").transpose(1, 2)
        x = x.unflatten(2, (self.maps, -1)).transpose(1, 2).contiguous(memory_format=torch.channels_last)
        for conv, pool in zip(self.convs, self.pools, strict=True):
            x = self.dropout(elu(F.max_pool2d(conv(x), (1, pool))))
        return x.permute(0, 1, 3, 2).flatten(1, 2)

    def tokens(self, cells: Tensor) -> Tensor:
        """What a block gives, `[batch, frames, channels]`."""
        return cells.transpose(1, 2)

    def classify(self, cells: Tensor) -> Tensor:
        """What the last block gives, after ELU, to logits `[batch, frames, n_classes]`."""
        return super().classify(elu(cells))


def elu(x: Tensor) -> Tensor:
    """`F.elu`, on a CPU equal to it up to 1e-7: there the function `expm1` takes fifteen times as long as `exp`."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.compiler.is_compiling():
        return F.elu(x)
    return F.relu(x) + (x.clamp(max=0).exp() - 1)


def bands_left(bands: int, kernels: Sequence[Sequence[int]], pools: Sequence[int]) -> int:
    """Bands behind the first convolutions.

    Raises:
        InputError: There are none.
    """
    left = bands
    for (_, tall), pool in zip(kernels, pools, strict=True):
        left = (left - tall + 1) // pool
    if left < 1:
        raise InputError(
            f"the front end makes {bands} bands, of which kernels={[list(kernel) for kernel in kernels]} and "
            f"pools={list(pools)} leave none: take more bands, or smaller ones of these"
        )
    return left
