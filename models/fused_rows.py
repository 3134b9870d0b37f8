"""Convolution, batch norm, max-pooling and ReLU along time; in one for training on a CPU, see `models.fused_norms`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.fused_norms import conv_norm_pool, fusable


@dataclass(frozen=True)
class Filters:
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
    if pool == 1:
        return norm(conv(x)).relu_()
    if not fusable(x, conv, norm):
        return F.max_pool1d(norm(conv(x)), pool).relu_()
    filters = Filters(conv.weight.unsqueeze(2), conv.bias, (1, conv.stride[0]), (0, conv.padding[0]))
    image = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    return conv_norm_pool(image, filters, norm, (1, pool)).squeeze(2)
