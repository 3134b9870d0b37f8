"""Compilation of a network by `torch.compile`, block by block.

All blocks but the last share one graph, since patchout keeps a constant number of tokens; the last, which is asked for
CLS and DIST alone, has another. What is random in a step (the patches kept, the offset in time) is chosen outside them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

MOST_GRAPHS = 64  # two each for training, for evaluation, and for every smaller batch at an end


def compile_blocks(network: nn.Module, **options: Any) -> nn.Module:
    """Have every block compiled when it is first called; names and shapes of the weights stay as they are.

    Worth it on CUDA. On a CPU it gains little, and with some versions of PyTorch it crashes.

    Args:
        network: A MAEST; changed in place, and returned.
        options: Of `torch.compile`; shapes are static unless `dynamic` says otherwise.
    """
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, MOST_GRAPHS)
    for block in network.blocks:
        block.compile(**{"dynamic": False, **options})
    return network
