"""Tensors from the processor's memory to a device, without waiting for it."""

from __future__ import annotations

import torch


def send(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Put a tensor on a device.

    A copy from ordinary memory would make the processor wait until a GPU has done everything before it; one from
    pinned memory takes its turn.
    """
    device = torch.device(device)
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
