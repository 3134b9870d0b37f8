"""Convolutional networks for inference: batch norm folded into the convolution before it, channels last in memory.

A block says in its class attribute `folds` which convolutions have a batch norm right behind them, by both names:

    folds = {"conv_1": "bn_1", "conv_2": "bn_2"}

Its `forward` then finds an identity in the place of each batch norm.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.kernels.subnormals import without_subnormals
from models.patches import Patches, few_inputs

LARGEST_OUTPUT = 2**22  # elements that a convolution makes at once: more would be new memory at every call

N = TypeVar("N", bound=nn.Module)


def fold(network: N) -> N:
    """The network with every batch norm that its blocks name folded, in place, and without subnormal weights.

    Args:
        network: In evaluation mode.
    """
    for block in list(network.modules()):
        for conv, norm in getattr(block, "folds", {}).items():
            if hasattr(block, conv):
                setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
                setattr(block, norm, nn.Identity())
    return without_subnormals(network).to(memory_format=torch.channels_last)


def conv_pool(x: Tensor, conv: nn.Conv2d, pool: tuple[int, int]) -> Tensor:
    """Convolution, max-pooling and ReLU, without gradients on a CPU in parts that leave no large tensor behind.

    Args:
        x: `[batch, channels, bands, frames]`.
        conv: Without groups and dilation.
        pool: Bands and frames that become one.
    """
    if (
        x.device.type != "cpu"
        or x.dtype not in (torch.float32, torch.float64)
        or torch.is_grad_enabled()
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
    ):
        return F.max_pool2d(conv(x), pool).relu_()
    if not few_inputs(conv):
        together = max(1, LARGEST_OUTPUT // (len(conv.weight) * x.shape[2] * x.shape[3]))
        return torch.cat([F.max_pool2d(conv(part), pool) for part in x.split(together)]).relu_()
    patches = Patches(x, conv.weight, conv.stride, conv.padding)
    y = patches.pooled(pool)
    for samples, bands, pooled in patches.pieces(pool[0]):
        y[samples, :, pooled] = F.max_pool2d(patches.convolved(patches.columns(samples, bands), bands), pool)
    return (y if conv.bias is None else y.add_(conv.bias.view(1, -1, 1, 1))).relu_()
