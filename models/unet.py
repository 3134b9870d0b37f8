"""The U of TUNe: a U-Net over the samples of a window, on which its tail stands, or the SampleCNN of its hybrid.

Vélez Vásquez and Burgoyne, "Tailed U-Net: multi-scale music representation learning", ISMIR 2022. Channels double on
the way down, every step by a max-pooling of 3, and halve on the way up, where each level also sees what the level of
its length gave on the way down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from models.batch_norm import SmallBatchNorm
from models.clmr_shapes import WINDOW
from models.fused_rows import joined, norm_pooled, upsampled
from models.window_encoder import WindowEncoder

POOL = 3
DOWN = 4  # levels of the published networks
SAMPLECNN = "samplecnn."  # prefix of what stands behind the U of the hybrid


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


class UNet(WindowEncoder):
    """Blocks `conv1`, `conv2`, ... down to the bottom and up again, and whatever blocks a subclass puts behind them.

    A subclass calls `make_unet` in its constructor and adds the names of its own blocks to `layer_names`.

    Attributes:
        upsamplings: Transposed convolutions by the names of the blocks that they come before.
        joined: Which block's output a block sees besides that of the block before it.
    """

    window_samples = WINDOW
    window = min_frames = max_frames = WINDOW

    def make_unet(self, width: int, levels_down: int, levels_up: int, last: int | None = None) -> dict[str, int]:
        """Make the blocks.

        Args:
            width: Channels of the first block.
            levels_down: Poolings on the way to the bottom.
            levels_up: Upsamplings from there.
            last: Channels of the last block; None: as many as its level has on the way down.

        Returns:
            Channels by block, in the order in which they run.
        """
        bottom, top = levels_down + 1, levels_down + 1 + levels_up
        channels = {f"conv{number}": width * 2 ** (number - 1) for number in range(1, bottom + 1)}
        self.upsamplings = {f"conv{number}": f"transposedConv{number}" for number in range(bottom + 1, top + 1)}
        self.joined = {f"conv{number}": f"conv{2 * bottom - number}" for number in range(bottom + 1, top + 1)}
        channels |= {name: channels[beside] for name, beside in self.joined.items()}
        channels[f"conv{top}"] = last or channels[f"conv{top}"]
        self.within = {module: name for name, module in self.upsamplings.items()}
        self.layer_names = tuple(channels)
        self.conv1 = NormedConv(1, width)
        for before, name in pairwise(channels):
            seen = channels[before]
            if name in self.upsamplings:
                beside = channels[self.joined[name]]
                setattr(self, self.upsamplings[name], nn.ConvTranspose1d(seen, beside, POOL, POOL))
                seen = 2 * beside
            setattr(self, name, NormedConv(seen, channels[name]))
        return channels

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
