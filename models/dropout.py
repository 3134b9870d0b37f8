"""Dropout that costs little on a CPU, where drawing a random number for each value takes longer than many a layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VALUES = 2**16  # of a random number: rates are met to a hundred-thousandth


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`; on a CPU from one random number of 64 bits for every four values."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` with values of 0 at the rate `p`, the others divided by `1 - p`."""
        if not self.training or self.p == 0 or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        strides = torch.empty_like(x, device="meta").stride()  # as the values lie in memory, bands or channels last
        kept = drawn.view(torch.int16).as_strided(x.shape, strides) >= round(self.p * VALUES) - VALUES // 2
        return x * (kept * (1 / (1 - self.p))).to(x.dtype)
