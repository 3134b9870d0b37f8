"""Beat This: beats and downbeats by a transformer on mel bands, whose published weights load strictly.

Foscarin, Schlüter and Widmer, "Beat this! Accurate beat tracking without DBN postprocessing", ISMIR 2024. Layers in
front attend over frequency and over time in turn, while convolutions halve the bands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.arguments import Positive, Rate
from models.beat_this_layout import from_layout
from models.errors import InputError
from models.frontends.base import FrontEnd
from models.initial_weights import State
from models.kernels.attention import attention
from models.kernels.products import Linear
from models.maest.vit import INIT_STD
from models.over_time import BEATS, OverTime
from models.spectnt import rotated

STRIDES = 4 * 2**3  # bands that become one in front
FRONT_BLOCKS = 3
MARGIN = 6  # frames at both ends whose outputs its loss does not train


class RMSNorm(nn.Module):
    """Values divided by their root mean square.

    Args:
        dim: Number of values.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., dim]`."""
        return F.normalize(x, dim=-1) * (math.sqrt(x.shape[-1]) * self.gamma)


class GatedAttention(nn.Module):
    """Pre-norm self-attention with rotary positions, each head multiplied by a gate of 0 to 1.

    Args:
        dim: Width of input and output.
        width: Of a head.
        dropout: Rate, of attention weights and of the output.
    """

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout
        self.norm = RMSNorm(dim)
        self.to_qkv = Linear(dim, 3 * dim, bias=False)
        self.to_gates = Linear(dim, dim // width)
        self.to_out = nn.Sequential(Linear(dim, dim, bias=False), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, positions, dim]`."""
        x = self.norm(x)
        q, k, v = self.to_qkv(x).unflatten(-1, (3, -1, self.width)).permute(2, 0, 3, 1, 4).unbind(0)
        rate = self.dropout if self.training else 0.0
        heads = attention(rotated(q), rotated(k), v, rate).transpose(1, 2)
        return self.to_out((heads * self.to_gates(x).sigmoid()[..., None]).flatten(2))


class PreNormFeedForward(nn.Module):
    """Pre-norm, with a hidden layer of four times the width.

    Args:
        dim: Width of input and output.
        dropout: Rate.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        layers = RMSNorm(dim), Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(dropout)
        self.net = nn.Sequential(*layers, Linear(4 * dim, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., dim]`."""
        return self.net(x)


class BeatThisBlock(nn.Module):
    """Attention and feed-forward along time, each added to its input.

    Args:
        dim: Width.
        width: Of a head.
        dropout: Rate.
    """

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.attn, self.ff = GatedAttention(dim, width, dropout), PreNormFeedForward(dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, frames, dim]`."""
        x = x + self.attn(x)
        return x + self.ff(x)


class PartialAttention(nn.Module):
    """Attention and feed-forward over the bands of each frame, then over the frames of each band.

    Args:
        dim: Width.
        width: Of a head.
        dropout: Rate.
    """

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.attnF, self.ffF = GatedAttention(dim, width, dropout), PreNormFeedForward(dim, dropout)
        self.attnT, self.ffT = GatedAttention(dim, width, dropout), PreNormFeedForward(dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, bands, frames]`."""
        batch = len(x)
        x = x.permute(0, 3, 2, 1).flatten(0, 1)
        x = x + self.attnF(x)
        x = x + self.ffF(x)
        x = x.unflatten(0, (batch, -1)).transpose(1, 2).flatten(0, 1)
        x = x + self.attnT(x)
        x = x + self.ffT(x)
        return x.unflatten(0, (batch, -1)).permute(0, 3, 1, 2)


class FrontBlock(nn.Module):
    """Partial attention where it is wanted, then half of the bands and twice the channels.

    Args:
        dim: Channels of the input.
        width: Of a head.
        dropout: Rate.
        partial: Whether there is attention.
    """

    folds: ClassVar[Mapping[str, str]] = {"conv2d": "norm"}

    def __init__(self, dim: int, width: int, dropout: float, partial: bool) -> None:
        super().__init__()
        self.partial = PartialAttention(dim, width, dropout) if partial else nn.Identity()
        self.conv2d = nn.Conv2d(dim, 2 * dim, (2, 3), stride=(2, 1), padding=(0, 1), bias=False)
        self.norm = nn.BatchNorm2d(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, dim, bands, frames]` to `[batch, 2 dim, bands / 2, frames]`."""
        return F.gelu(self.norm(self.conv2d(self.partial(x))))


class Stem(nn.Module):
    """Batch norm of each band, and a convolution of four bands at a time.

    Args:
        bands: Of the input.
        channels: Of the output.
    """

    folds: ClassVar[Mapping[str, str]] = {"conv2d": "bn2d"}

    def __init__(self, bands: int, channels: int) -> None:
        super().__init__()
        self.bn1d = nn.BatchNorm1d(bands)
        self.conv2d = nn.Conv2d(1, channels, (4, 3), stride=(4, 1), padding=(0, 1), bias=False)
        self.bn2d = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, frames, bands]` to `[batch, channels, bands / 4, frames]`."""
        return F.gelu(self.bn2d(self.conv2d(self.bn1d(x.transpose(1, 2))[:, None])))


class Front(nn.Module):
    """Frames to vectors of width `dim`.

    Args:
        bands: Of the input.
        dim: Of the output.
        stem: Channels of the first convolution.
        width: Of a head.
        dropout: Rate.
        partial: Whether there is attention.
    """

    def __init__(self, bands: int, dim: int, stem: int, width: int, dropout: float, partial: bool) -> None:
        super().__init__()
        self.stem = Stem(bands, stem)
        self.blocks = nn.Sequential(*(FrontBlock(stem * 2**n, width, dropout, partial) for n in range(FRONT_BLOCKS)))
        self.linear = Linear(stem * 2**FRONT_BLOCKS * (bands // STRIDES), dim)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, frames, bands]` to `[batch, frames, dim]`."""
        return self.linear(self.blocks(self.stem(x)).permute(0, 3, 1, 2).flatten(2))


class BeatThis(OverTime, name="beat_this"):
    """Convolutions and partial attention in front, and blocks along time; an output for every frame.

    The default size is the large published one (final0), `dim=128` the small one.

    Args:
        n_classes: Number of logits.
        bands: Of a frame.
        dim: Width of the blocks.
        blocks: Number of blocks.
        head_width: Of all attention heads; must divide `dim` and `front_channels`.
        front_channels: Of the first convolution.
        partial: Whether there is attention in front.
        front_dropout: Rate in front.
        dropout: Rate in the blocks.
        sum_rule: Whether the logit of a downbeat is added to that of a beat, where these are the two outputs.

    Raises:
        ValueError: The heads do not divide the widths.
    """

    frontend = "beat_this_mel"
    input = "features"
    derived = ("n_classes", "bands")
    margin = MARGIN

    def __init__(
        self,
        *,
        n_classes: int = 2,
        bands: int = 128,
        dim: Positive = 512,
        blocks: Positive = 6,
        head_width: Positive = 32,
        front_channels: Positive = 32,
        partial: bool = True,
        front_dropout: Rate = 0.1,
        dropout: Rate = 0.2,
        sum_rule: bool = True,
    ) -> None:
        super().__init__()
        self.check({"dim": dim, "head_width": head_width, "front_channels": front_channels})
        self.layer_names = tuple(f"block{number}" for number in range(1, blocks + 1))
        self.front = Front(bands, dim, front_channels, head_width, front_dropout, partial)
        for name in self.layer_names:
            setattr(self, name, BeatThisBlock(dim, head_width, dropout))
        self.norm = RMSNorm(dim)
        self.make_head(dim, n_classes, sum_rule)
        self.apply(initialise)

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes and bands.

        Raises:
            InputError: The front end makes another number of bands than a multiple of 32.
        """
        shape = frontend.item_shape
        if len(shape) != 1 or shape[0] % STRIDES:
            raise InputError(
                f"model.frontend={frontend.name} makes frames of shape {list(shape)}, the network {cls.name} needs "
                f"[bands], a multiple of {STRIDES}: leave model.frontend out"
            )
        return {"n_classes": n_classes, "bands": shape[0]}

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Heads of an even width that divide the other widths."""
        width = arguments["head_width"]
        for name in ("dim", "front_channels"):
            if width % 2 or arguments[name] % width:
                raise ValueError(f"{name}={arguments[name]}, head_width={width}: expected a multiple of an even number")

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """The layout of the package `beat_this`, alone or in its Lightning checkpoint, with the sum rule.

        Raises:
            CheckpointError: Its positions are turned at other speeds than here.
        """
        read = from_layout(state)
        return None if read is None else (*read, {"task": "beats", "labels": list(BEATS)})

    def stem(self, x: Tensor) -> Tensor:
        """Frames `[batch, frames, bands]` to the input of the first block, `[batch, frames, dim]`."""
        return self.front(x)

    def classify(self, cells: Tensor) -> Tensor:
        """What the last block gives, normalised, to logits `[batch, frames, n_classes]`."""
        return super().classify(self.norm(cells))


def initialise(module: nn.Module) -> None:
    """Normal of deviation 0.02 for linear weights, Kaiming's by the outputs for convolutions; biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
