"""Convolution, batch norm, max-pooling and ReLU along time; in one for training on a CPU, see `models.fused_norms`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.fused_norms import conv_norm_pool, fusable
from models.fused_sums import add_branches


@dataclass(frozen=True)
class RowFilters:
    """Of a convolution along time, as those of a convolution of images of one row.

    Attributes:
        weight: `[channels, inputs, 1, kernel]`.
        bias: `[channels]`.
        stride: Of rows and of cells.
        padding: The same.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]


def norm_pooled(x: Tensor, conv: nn.Conv1d, norm: nn.Module, pool: int) -> Tensor:
    """The four layers; ReLU comes after pooling, which gives the same of fewer cells.

    Args:
        x: `[batch, inputs, cells]`.
        conv: Without groups and dilation.
        norm: Of its output; an identity where it is folded into the convolution.
        pool: Cells that become one; of one alone nothing is gained by fusing.
    """
    if not fusable(x, conv, norm):
        x = norm(conv(x))
        return (x if pool == 1 else F.max_pool1d(x, pool)).relu_()
    filters = RowFilters(conv.weight.unsqueeze(2), conv.bias, (1, conv.stride[0]), (0, conv.padding[0]))
    image = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    if pool == 1:
        return add_branches([(filters, norm, image)]).squeeze(2)
    return conv_norm_pool(image, filters, norm, (1, pool)).squeeze(2)


def upsampled(x: Tensor, conv: nn.ConvTranspose1d) -> Tensor:
    """A transposed convolution whose patches do not overlap: of every cell a product, channels last in memory.

    Args:
        x: `[batch, inputs, cells]`.
        conv: Of a stride as long as its kernel, without padding.
    """
    if not fusable(x, conv):
        return conv(x)
    filters = conv.weight.permute(2, 1, 0).flatten(0, 1)  # [kernel * channels, inputs]
    cells = F.linear(x.transpose(1, 2), filters, conv.bias.repeat(conv.stride[0]))
    return cells.unflatten(2, (conv.stride[0], -1)).flatten(1, 2).transpose(1, 2)


def joined(x: Tensor, beside: Tensor) -> Tensor:
    """The channels of both, one behind the other; last in memory where they are so in one of them.

    Args:
        x: `[batch, channels, cells]`.
        beside: Of as many cells.
    """
    if x.stride(1) > 1:
        return torch.cat([x, beside], 1)
    return torch.cat([x.transpose(1, 2), beside.transpose(1, 2)], 2).transpose(1, 2)
