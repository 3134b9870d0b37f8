"""CLMR's SampleCNN, TUNe and TUNe+ in plain PyTorch, layer after layer, for `benchmarks.contrastive_step`.

Tensors have the names under which they are published.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.clmr import CLMR
from models.tune import TUNe

DOWN, UP = (1, 11, 22, 44, 88, 176), (176, 88, 44, 22, 11)
TAIL = (11, 22, 44, 88, 176, 352, 352, 352, 352, 512)


def layers(inputs: int, channels: int, stride: int = 1, padding: int = 1, pool: bool = False) -> nn.Sequential:
    """Convolution over three cells, batch norm, ReLU, and max-pooling of three if any."""
    convolution = nn.Conv1d(inputs, channels, 3, stride, padding)
    pooling = [nn.MaxPool1d(3, 3)] if pool else []
    return nn.Sequential(convolution, nn.BatchNorm1d(channels), nn.ReLU(), *pooling)


class PlainCLMR(nn.Module):
    """Windows `[batch, samples]` to `[batch, 512]`."""

    def __init__(self) -> None:
        super().__init__()
        middle = pairwise((128, 128, 128, 256, 256, 256, 256, 256, 256, 512))
        blocks = [layers(1, 128, stride=3, padding=0), *(layers(*ends, pool=True) for ends in middle), layers(512, 512)]
        self.sequential = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.sequential(x[:, None]).flatten(1)


class Block(nn.Module):
    """Of TUNe: the layers under their published name."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.layers = layers(inputs, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, inputs, cells]` to `[batch, channels, cells]`."""
        return self.layers(x)


class PlainTUNe(nn.Module):
    """Windows `[batch, samples]` to `[batch, 512]`.

    Args:
        plus: TUNe+, whose tail sees what the levels on the way up gave.
    """

    def __init__(self, plus: bool = False) -> None:
        super().__init__()
        self.plus, self.pool = plus, nn.MaxPool1d(3, 3)
        for number, (inputs, channels) in enumerate(pairwise(DOWN), start=1):
            setattr(self, f"conv{number}", Block(inputs, channels))
        for number, (inputs, channels) in enumerate(pairwise(UP), start=6):
            setattr(self, f"transposedConv{number}", nn.ConvTranspose1d(inputs, channels, 3, 3))
            setattr(self, f"conv{number}", Block(2 * channels, channels))
        for number, (inputs, channels) in enumerate(pairwise(TAIL), start=1):
            more = UP[4 - number] if plus and number <= 4 else 0
            setattr(self, f"convDown{number}", Block(inputs + more, channels))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        kept = {0: x[:, None]}
        for number in range(1, 6):
            x = kept[number - 1]
            kept[number] = getattr(self, f"conv{number}")(self.pool(x) if number > 1 else x)
        for number in range(6, 10):
            x = getattr(self, f"transposedConv{number}")(kept[number - 1])
            kept[number] = getattr(self, f"conv{number}")(torch.cat([x, kept[10 - number]], 1))
        x = kept[9]
        for number in range(1, 10):
            x = self.pool(x)
            beside = [kept[9 - number]] if self.plus and number <= 4 else []
            x = getattr(self, f"convDown{number}")(torch.cat([x, *beside], 1) if beside else x)
        return x.mean(2)


def plainly(network: CLMR | TUNe) -> nn.Module:
    """The same network with the same weights in plain PyTorch."""
    plain = PlainCLMR() if isinstance(network, CLMR) else PlainTUNe("convDown1" in network.joined)
    (head,) = network.head_prefixes
    state = network.state_dict()
    plain.load_state_dict({network.published_name(key): state[key] for key in state if not key.startswith(head)})
    return plain


def plain_nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent by its definition: cosines of all pairs, each row without itself, and cross-entropy."""
    z = torch.cat([first, second])
    cosines = F.cosine_similarity(z[:, None], z[None], dim=2) / temperature
    cosines = cosines.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    return F.cross_entropy(cosines, torch.arange(len(z), device=z.device).roll(len(first)))
