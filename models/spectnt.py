"""SpecTNT: transformers over the frequencies of every frame and over time, which speak through one token a frame.

Lu, Wang, Won, Choi and Song, "SpecTNT: a Time-Frequency Transformer for Music Audio", ISMIR 2021. Attention is over
rows of frequency within a frame, then over frames. No weight depends on the length of the input: positions in time are
rotary (Su et al., arXiv 2104.09864), so that only differences of them count, and every frame starts from the same
tokens. Weights are published neither by the authors nor by others.

`ResUnit`, `Start` and `SpecTNTBlock` are made for any front end and output: what they give for every frame is what a
network for beats reads, which has six maps, other pools and no token of the whole clip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.arguments import Positive, Rate
from models.convolutional import Tagger
from models.dropout import Dropout
from models.frontends.base import FrontEnd
from models.initial_weights import State
from models.maest import vit

WINDOW = 100_107  # samples: 4.54 s at 22,050 Hz
POOL = (1, 4)  # bands and frames
LEVEL, SPREAD = -20.0, 20.0  # dB, of these bands of music, roughly; the first convolution pads with the mean


class Tokens(NamedTuple):
    """What goes from block to block.

    Attributes:
        rows: `[batch, frames, 1 + bands, channels]`, the first one of each frame its class token.
        steps: `[batch, frames, dim]`, and before the first frame the class token of the clip where there is one.
    """

    rows: Tensor
    steps: Tensor


class ResUnit(nn.Module):
    """Two convolutions of 3 x 3 with batch norm beside a shortcut, ReLU, max-pooling.

    Attributes:
        folds: See `models.folding`.

    Args:
        channels_in: Of the input.
        channels: Of the output; where they differ, the shortcut is a convolution with batch norm, too.
        pool: Bands and frames that become one.
    """

    folds: ClassVar[Mapping[str, str]] = {"conv1": "bn1", "conv2": "bn2"}

    def __init__(self, channels_in: int, channels: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels_in, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels, 3, padding=1), nn.BatchNorm2d(channels))
            self.shortcut.folds = {"0": "1"}
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, bands, frames]`, pooled along the last two."""
        inner = self.bn1(self.conv1(x)).relu_()
        inner = self.bn2(self.conv2(inner)).add_(self.shortcut(x))
        return F.max_pool2d(inner, self.pool).relu_()  # after pooling: the same, of fewer cells


class Start(nn.Module):
    """Convolutions, and the tokens that the first block gets.

    Args:
        maps: Of the front end, as channels.
        bands: Of each.
        channels: Width of the rows of frequency.
        dim: Width of the steps in time.
        pools: Of the residual units, one each.
        class_token: Whether the clip has one.
    """

    def __init__(
        self, maps: int, bands: int, channels: int, dim: int, pools: Sequence[tuple[int, int]], class_token: bool
    ) -> None:
        super().__init__()
        widths = [maps] + [channels] * (len(pools) - 1)
        self.units = nn.Sequential(*(ResUnit(width, channels, pool) for width, pool in zip(widths, pools, strict=True)))
        rows = 1 + bands // math.prod(pool[0] for pool in pools)
        self.dim = dim
        self.frequency_class = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.frequency_positions = nn.Parameter(torch.zeros(1, 1, rows, channels))
        self.time_class = nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None
        for parameter in (self.frequency_positions, self.time_class):
            if parameter is not None:
                nn.init.normal_(parameter, std=vit.INIT_STD)

    def forward(self, maps: Tensor) -> Tokens:
        """Maps `[batch, maps, bands, frames]` to tokens of the pooled frames, whose steps start from zero."""
        cells = self.units(maps.contiguous(memory_format=torch.channels_last)).permute(0, 3, 2, 1)
        batch, frames = cells.shape[:2]
        rows = torch.cat([self.frequency_class.expand(batch, frames, -1, -1), cells], 2) + self.frequency_positions
        steps = rows.new_zeros(batch, frames, self.dim)
        if self.time_class is not None:
            steps = torch.cat([self.time_class.expand(batch, -1, -1), steps], 1)
        return Tokens(rows, steps)


class RotaryAttention(vit.Attention):
    """Self-attention that sees how far apart two positions are: queries and keys are turned by theirs."""

    def _project(self, x: Tensor, queries: int | None) -> tuple[Tensor, ...]:
        q, k, v = super()._project(x, queries)
        return rotated(q), rotated(k), v


class SpecTNTBlock(nn.Module):
    """Attention over the rows of each frame, then over the steps in time.

    Before, the step of a frame is added to the class token of its rows; between, that token to the step.

    Args:
        channels: Width of the rows.
        dim: Width of the steps.
        heads: Of the attention over rows, and over steps.
        ratio: Width of the hidden layers in units of `channels` and `dim`.
        dropout: Rate.
        last: No other block follows: no row but the class tokens is computed to its end.
    """

    def __init__(
        self, channels: int, dim: int, heads: tuple[int, int], ratio: float, dropout: float, last: bool = False
    ) -> None:
        super().__init__()
        self.to_rows = nn.Linear(dim, channels)
        self.spectral = vit.Block(channels, heads[0], ratio, dropout)
        self.to_steps = nn.Linear(channels, dim)
        self.temporal = vit.Block(dim, heads[1], ratio, dropout)
        self.temporal.attn = RotaryAttention(dim, heads[1], dropout)
        for block in (self.spectral, self.temporal):
            block.attn.proj_drop, block.mlp.drop = Dropout(dropout), Dropout(dropout)
        self.last = last

    def forward(self, tokens: Tokens) -> Tokens:
        """The tokens after the block."""
        rows, steps = tokens
        batch, frames = rows.shape[:2]
        clip, steps = steps[:, :-frames], steps[:, -frames:]
        rows = torch.cat([rows[:, :, :1] + self.to_rows(steps)[:, :, None], rows[:, :, 1:]], 2)
        rows = self.spectral(rows.flatten(0, 1), 1 if self.last else None).unflatten(0, (batch, frames))
        return Tokens(rows, self.temporal(torch.cat([clip, steps + self.to_steps(rows[:, :, 0])], 1)))


class SpecTNT(Tagger, name="spectnt"):
    """The network for tags: one residual unit over the level of mel bands in dB, and blocks.

    The front end is that of the paper, with Slaney bands: each of the 128 has a peak among the bins of this Fourier
    transform to itself, while some of the lowest HTK bands share theirs. A recording of any length is seen in steps of
    four frames (93 ms). The default size has 829,874 parameters.

    Args:
        n_classes: Number of logits.
        bands: Of a frame.
        channels: Width of the tokens of a frame.
        dim: Width of the tokens along time.
        blocks: Number of blocks.
        spectral_heads: Attention heads over frequencies; must divide `channels`.
        temporal_heads: Attention heads over time; twice as many must divide `dim`.
        ratio: Width of the hidden layers of a block in units of `channels` and `dim`.
        dropout: Rate in the blocks.
        head: What is classified: a token of the clip, or the mean of the frames' tokens.

    Raises:
        ValueError: The heads do not divide the widths.
    """

    frontend_arguments: ClassVar[Mapping[str, Any]] = {
        "sample_rate": 22_050,
        "n_fft": 1024,
        "hop": 512,
        "bands": 128,
        "scale": "slaney",
        "norm": "area",
    }
    window_samples = WINDOW
    window = 1 + WINDOW // 512
    min_frames = POOL[1]
    derived = ("n_classes", "bands")

    def __init__(
        self,
        *,
        n_classes: int = 50,
        bands: int = 128,
        channels: Positive = 96,
        dim: Positive = 96,
        blocks: Positive = 3,
        spectral_heads: Positive = 4,
        temporal_heads: Positive = 8,
        ratio: float = 4.0,
        dropout: Rate = 0.15,
        head: Literal["clip", "mean"] = "clip",
    ) -> None:
        super().__init__()
        heads = (spectral_heads, temporal_heads)
        self.check({"channels": channels, "dim": dim, "spectral_heads": heads[0], "temporal_heads": heads[1]})
        self.n_classes, self.clip = n_classes, head == "clip"
        self.token_names = ("tct", "mean") if self.clip else ("mean",)
        self.layer_names = tuple(f"block{number}" for number in range(1, blocks + 1))
        self.start = Start(1, bands, channels, dim, [POOL], self.clip)
        for name in self.layer_names:
            setattr(self, name, SpecTNTBlock(channels, dim, heads, ratio, dropout, last=name == self.layer_names[-1]))
        self.head = nn.Linear(dim, n_classes)

    @classmethod
    def derive(cls, frontend: FrontEnd, frames: int, n_classes: int) -> dict[str, Any]:
        """Classes and bands."""
        return {"n_classes": n_classes, "bands": frontend.item_shape[0]}

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Heads that divide the widths."""
        check_heads(arguments)

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State, dict[str, Any]] | None:
        """None: there are no published weights."""
        return None

    def stem(self, x: Tensor) -> Tokens:
        """Levels in dB `[batch, frames, bands]` to the tokens of the first block."""
        return self.start(((x - LEVEL) / SPREAD).transpose(1, 2)[:, None])

    def tokens(self, cells: Tokens) -> Tensor:
        """The clip's token where there is one, and the mean of the frames', `[batch, 2 or 1, dim]`."""
        frames = cells.steps[:, -cells.rows.shape[1] :].mean(1)
        return torch.stack([cells.steps[:, 0], frames] if self.clip else [frames], 1)

    def classify(self, cells: Tokens) -> Tensor:
        """The first of these to logits."""
        return self.head(self.tokens(cells)[:, 0])

    def no_weight_decay(self) -> tuple[str, ...]:
        """Positions and class tokens."""
        return tuple(f"start.{name}" for name, parameter in self.start.named_parameters(recurse=False))


def check_heads(arguments: Mapping[str, Any]) -> None:
    """Refuse heads that do not divide the widths, in time into even ones: positions turn pairs of values.

    Raises:
        ValueError: Names both.
    """
    for name, width, parts in (("spectral_heads", "channels", 1), ("temporal_heads", "dim", 2)):
        if arguments[width] % (parts * arguments[name]):
            needed = f"a multiple of {parts * arguments[name]}"
            raise ValueError(f"{width}={arguments[width]} with {name}={arguments[name]}: expected {needed}")


def rotated(x: Tensor) -> Tensor:
    """Pairs of values turned by an angle that grows with the position, `[..., positions, width]`."""
    half = x.shape[-1] // 2
    speeds = 10_000.0 ** (-torch.arange(half, device=x.device) / half)
    angles = torch.arange(x.shape[-2], device=x.device)[:, None] * speeds
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)
