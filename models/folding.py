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

from models.fused_norms import FEW, Patches, empty_like_last, rows_of

TOGETHER = 2**22  # elements of a convolution's output that are made at once: more would be new memory at every call

N = TypeVar("N", bound=nn.Module)


def fold(network: N) -> N:
    """The network with every batch norm that its blocks name folded, in place.

    Args:
        network: In evaluation mode.
    """
    for block in list(network.modules()):
        for conv, norm in getattr(block, "folds", {}).items():
            if hasattr(block, conv):
                setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
                setattr(block, norm, nn.Identity())
    return network.to(memory_format=torch.channels_last)


def thin(x: Tensor, conv: nn.Module) -> bool:
    """Whether a convolution without gradients is better done as a product with few inputs."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and isinstance(conv, nn.Conv2d)
        and conv.weight[0].numel() <= FEW
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """The convolution.

    Args:
        x: `[batch, channels, bands, frames]`.
        conv: Without groups and dilation.
    """
    if not thin(x, conv):
        return conv(x)
    patches = Patches(x, conv.weight, conv.stride, conv.padding)
    bias = conv.weight.new_zeros(len(conv.weight)) if conv.bias is None else conv.bias
    z = empty_like_last((len(x), len(conv.weight), patches.bands, patches.frames), x)
    for samples, high, _ in patches.pieces(1):
        out = rows_of(z[samples, :, high]).flatten(0, 1)
        torch.addmm(bias, patches.of(samples, high).t(), patches.filters, out=out)
    return z


def conv_pool(x: Tensor, conv: nn.Conv2d, pool: tuple[int, int]) -> Tensor:
    """Convolution, max-pooling and ReLU without gradients, in parts that leave no large tensor behind.

    Args:
        x: `[batch, channels, bands, frames]`.
        conv: Without groups and dilation.
        pool: Bands and frames that become one.
    """
    if not thin(x, conv):
        together = max(1, TOGETHER // (len(conv.weight) * x.shape[2] * x.shape[3]))
        if x.device.type != "cpu" or len(x) <= together:
            return F.max_pool2d(conv(x), pool).relu_()
        return torch.cat([F.max_pool2d(conv(part), pool) for part in x.split(together)]).relu_()
    patches = Patches(x, conv.weight, conv.stride, conv.padding)
    y = empty_like_last((len(x), len(conv.weight), patches.bands // pool[0], patches.frames // pool[1]), x)
    for samples, high, pooled in patches.pieces(pool[0]):
        y[samples, :, pooled] = F.max_pool2d(patches.cells(patches.of(samples, high), samples, high), pool)
    return (y if conv.bias is None else y.add_(conv.bias.view(1, -1, 1, 1))).relu_()
