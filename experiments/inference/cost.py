"""What inference spends: threads of the processor, and operations of the network."""

from __future__ import annotations

import torch

from models.maest import MAEST
from models.maest.flops import cost

WORTH_SAYING = 1.2  # times fewer operations


def use_threads(threads: int | None) -> None:
    """Let torch compute with so many threads in this process; None leaves it as it is."""
    if threads is not None:
        torch.set_num_threads(threads)


def savings(network: torch.nn.Module, frames: int, last_block: int | None = None) -> str | None:
    """What inference patchout and an early exit leave of the cost of a window, as one line; None if little is saved.

    Args:
        network: As it runs.
        frames: Of a window.
        last_block: Nothing runs after it (embeddings); None runs to the logits.
    """
    if not isinstance(network, MAEST):
        return None
    off = {"s_patchout_f_indices": (), "s_patchout_t_indices": ()}
    off |= {"s_patchout_f_interleaved": 0, "s_patchout_t_interleaved": 0}
    with torch.device("meta"):
        whole = MAEST(**{**network.hyperparameters, **off})
    blocks = None if last_block is None else last_block + 1
    spent, full = cost(network, frames, blocks=blocks), cost(whole, frames)
    if spent.macs >= full.macs or (spent.tokens == full.tokens and blocks in (None, network.depth)):
        return None
    parts = []
    if spent.tokens < full.tokens:
        parts.append(f"patchout keeps {spent.tokens} of {full.tokens} tokens a window")
    if blocks is not None and blocks < network.depth:
        parts.append(f"{blocks} of {network.depth} blocks run")
    share = spent.macs / full.macs
    if 1 / share < WORTH_SAYING:
        return None
    return f"{', '.join(parts)}: {share:.0%} of the operations of the whole network, {1 / share:.1f} times fewer"
