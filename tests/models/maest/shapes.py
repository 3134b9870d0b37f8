"""Networks of the papers by name, and a small one; MAEST has `floor(seconds * 62.5)` frames, PaSST 100 a second."""

from __future__ import annotations

from typing import Any

import torch

from models.maest import MAEST

SHAPES: dict[str, dict[str, Any]] = {
    "maest_5s": {"n_frames": 312},
    "maest_10s": {"n_frames": 625},
    "maest_20s": {"n_frames": 1250},
    "maest_30s": {"n_frames": 1875},
    "maest_30s_519l": {"n_frames": 1875, "n_classes": 519},
    "passt_s": {"n_bands": 128, "n_frames": 998, "n_classes": 527},
    "passt_l": {"n_bands": 128, "n_frames": 998, "n_classes": 527, "depth": 7},
}
SMALL: dict[str, Any] = {"n_classes": 7, "n_frames": 125, "dim": 48, "depth": 3, "heads": 3}


def build(name: str, **overrides: Any) -> MAEST:
    """A network of that shape with random weights."""
    return MAEST(**{**SHAPES[name], **overrides})


def randomise(network: torch.nn.Module) -> torch.nn.Module:
    """Moves every parameter away from its initial value, so that none can be mixed up with another."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network


def tokens_seen(network: MAEST, x: torch.Tensor) -> int:
    """Length of the sequence that enters the first block."""
    seen = []
    handle = network.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    with torch.no_grad():
        network(x)
    handle.remove()
    return seen[0]
