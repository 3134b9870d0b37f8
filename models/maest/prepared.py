"""A network made ready for fast inference on a CPU.

The weights of the blocks are reordered once into the layout that the matrix kernels of oneDNN read, the GELU and the
residual sums become part of the products, and nothing is kept for a backward pass. Equal to the network up to rounding.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from models.maest.vit import Block

_ROWS = 1024  # products with about so many tokens are what the packed layout is chosen for


class PackedLinear:
    """A linear layer in oneDNN's layout; it can neither be trained nor saved."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), _ROWS)
        self.bias = bias.detach().clone()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """`x W^T + b`."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def gelu(self, x: torch.Tensor) -> torch.Tensor:
        """`gelu(x W^T + b)`, exact."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none")

    def add(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """`x W^T + b + residual`."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")


class PackedBlock(nn.Module):
    """A `Block` for inference; the same call, the same values; float32 under autocast too, as its weights are."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        attention, dim = block.attn, block.attn.proj.in_features
        self.heads = attention.heads
        self.norm1, self.norm2 = copy.deepcopy(block.norm1), copy.deepcopy(block.norm2)
        weight, bias = attention.qkv.weight, attention.qkv.bias
        self.q, self.kv = PackedLinear(weight[:dim], bias[:dim]), PackedLinear(weight[dim:], bias[dim:])
        self.proj = PackedLinear(attention.proj.weight, attention.proj.bias)
        self.fc1 = PackedLinear(block.mlp.fc1.weight, block.mlp.fc1.bias)
        self.fc2 = PackedLinear(block.mlp.fc2.weight, block.mlp.fc2.bias)

    @torch.no_grad()
    def forward(self, x: torch.Tensor, queries: int | None = None) -> torch.Tensor:
        """As `Block.forward`."""
        with torch.autocast(x.device.type, enabled=False):
            return self._forward(x.float(), queries)

    def _forward(self, x: torch.Tensor, queries: int | None) -> torch.Tensor:
        batch, tokens, dim = x.shape
        read = tokens if queries is None else queries
        heads = (self.heads, dim // self.heads)
        normed = self.norm1(x)
        q = self.q(normed[:, :read]).view(batch, read, *heads).transpose(1, 2)
        k, v = self.kv(normed).view(batch, tokens, 2, *heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.proj.add(mixed, x[:, :read].contiguous())
        return self.fc2.add(self.fc1.gelu(self.norm2(x)), x)


def prepare(network: nn.Module) -> nn.Module:
    """A network for inference only: `eval()` mode, no gradients, and on a CPU packed weights where oneDNN is there.

    The copy does not follow later changes of `network`, and it cannot be saved: keep the original for that.

    Args:
        network: A MAEST, left as it is. Off the CPU, in another precision than float32 or without oneDNN, a plain copy
            is made.
    """
    weight = network.cls_token
    if weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        blocks = nn.ModuleList(PackedBlock(block) for block in network.blocks)
        prepared = copy.deepcopy(network, {id(network.blocks): blocks})
    else:
        prepared = copy.deepcopy(network)
    return prepared.eval().requires_grad_(False)
