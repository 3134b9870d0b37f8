"""A network made ready for fast inference on a CPU.

The weights of the blocks are reordered once into the layout that the matrix kernels of oneDNN read, the GELU and the
residual sums become part of the products, and nothing is kept for a backward pass. Equal to the network up to rounding.
In bfloat16, products and attention are computed as autocast computes them; norms and residual sums stay in float32.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from models.kernels.attention import attention
from models.kernels.mode import enabled
from models.kernels.subnormals import without_subnormals
from models.maest.vit import Block

_ROWS = 1024  # products with about so many tokens are what the packed layout is chosen for


class PackedLinear:
    """A linear layer in oneDNN's layout; it can neither be trained nor saved."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous(), _ROWS)
        self.bias = bias.detach().to(dtype, copy=True)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """`x W^T + b`."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def gelu(self, x: torch.Tensor) -> torch.Tensor:
        """`gelu(x W^T + b)`, exact."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none")

    def add(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """`x W^T + b + residual`, the sum in float32."""
        if x.dtype != residual.dtype:
            return self(x) + residual
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")


class PackedBlock(nn.Module):
    """A `Block` for inference; the same call, the same values."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        super().__init__()
        own, dim = block.attn, block.attn.proj.in_features
        self.heads, self.dtype = own.heads, dtype
        self.norm1, self.norm2 = copy.deepcopy(block.norm1), copy.deepcopy(block.norm2)
        weight, bias = own.qkv.weight, own.qkv.bias
        self.q = PackedLinear(weight[:dim], bias[:dim], dtype)
        self.kv = PackedLinear(weight[dim:], bias[dim:], dtype)
        self.proj = PackedLinear(own.proj.weight, own.proj.bias, dtype)
        self.fc1 = PackedLinear(block.mlp.fc1.weight, block.mlp.fc1.bias, dtype)
        self.fc2 = PackedLinear(block.mlp.fc2.weight, block.mlp.fc2.bias, dtype)

    @torch.no_grad()
    def forward(self, x: torch.Tensor, queries: int | None = None) -> torch.Tensor:
        """As `Block.forward`."""
        with torch.autocast(x.device.type, enabled=False):
            return self._forward(x.float(), queries)

    def _forward(self, x: torch.Tensor, queries: int | None) -> torch.Tensor:
        batch, tokens, dim = x.shape
        read = tokens if queries is None else queries
        heads = (self.heads, dim // self.heads)
        normed = self.norm1(x).to(self.dtype)
        q = self.q(normed[:, :read]).view(batch, read, *heads).transpose(1, 2)
        k, v = self.kv(normed).view(batch, tokens, 2, *heads).permute(2, 0, 3, 1, 4)
        mixed = attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.proj.add(mixed, x[:, :read].contiguous())
        return self.fc2.add(self.fc1.gelu(self.norm2(x).to(self.dtype)), x)


def prepare(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A network for inference only: `eval()` mode, no gradients, and on a CPU packed weights where oneDNN is there.

    The copy does not follow later changes of `network`, and it cannot be saved: keep the original for that.

    Args:
        network: A MAEST, left as it is. Off the CPU, in another precision than float32, without oneDNN or where other
            kernels than PyTorch's own are not wanted (`models.kernels.mode`), a plain copy is made.
        dtype: Of the products in its blocks.
    """
    if _packable(network.cls_token, dtype):
        blocks = nn.ModuleList(PackedBlock(without_subnormals(copy.deepcopy(block)), dtype) for block in network.blocks)
        prepared = copy.deepcopy(network, {id(network.blocks): blocks})
    else:
        prepared = copy.deepcopy(network)
    return without_subnormals(prepared).eval().requires_grad_(False)


def _packable(weight: torch.Tensor, dtype: torch.dtype) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and (dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
        and enabled()
    )
