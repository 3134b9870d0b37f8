"""The tensors of published Beat This networks, as the package `beat_this` names and orders them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.errors import CheckpointError
from models.initial_weights import State

PREFIX = "model."  # of a Lightning checkpoint
COMPILED = "_orig_mod."
SPEEDS = "rotary_embed.freqs"  # of the published layout: a constant
RENAMED = {
    r"^frontend\.": "front.",
    r"^transformer_blocks\.norm\.": "norm.",
    r"^task_heads\.beat_downbeat_lin\.": "head.",
}
LAYER = re.compile(r"^transformer_blocks\.layers\.(\d+)\.([01])\.")
OUTPUTS = 2


def from_layout(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], State] | None:
    """Arguments of `BeatThis` and its tensors; None of anything else.

    Args:
        state: Tensors by name, as they are or with the prefixes of a Lightning checkpoint or of compiled parts.

    Raises:
        CheckpointError: Its positions are turned at other speeds than here.
    """
    tensors = {key.replace(COMPILED, "").removeprefix(PREFIX): tensor for key, tensor in state.items()}
    if "frontend.stem.conv2d.weight" not in tensors or "frontend.linear.weight" not in tensors:
        return None
    arguments = published_arguments(tensors)
    own: State = {}
    for key, tensor in tensors.items():
        if key.endswith(SPEEDS):
            check_speeds(key, tensor)
        elif key.endswith("to_qkv.weight"):
            own[renamed(key)] = halves(tensor, arguments["head_width"])
        else:
            own[renamed(key)] = tensor
    return arguments, own


def published_arguments(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of the constructor by the shapes of tensors in the published layout."""
    dim = len(tensors["frontend.linear.weight"])
    gates = tensors.get("transformer_blocks.layers.0.0.to_gates.weight")
    return {
        "n_classes": OUTPUTS,
        "bands": len(tensors.get("frontend.stem.bn1d.weight", ())),
        "dim": dim,
        "blocks": len({found[1] for key in tensors if (found := LAYER.match(key))}),
        "head_width": dim // max(1, 0 if gates is None else len(gates)),
        "front_channels": len(tensors["frontend.stem.conv2d.weight"]),
        "partial": any(".partial." in key for key in tensors),
    }


def renamed(key: str) -> str:
    """The name here of a tensor of the published layout."""
    if found := LAYER.match(key):
        part = ("attn", "ff")[int(found[2])]
        return f"block{int(found[1]) + 1}.{part}.{key[found.end() :]}"
    for pattern, beginning in RENAMED.items():
        key = re.sub(pattern, beginning, key)
    return key


def halves(weight: Tensor, width: int) -> Tensor:
    """Rows of queries, keys and values in the order of `rotated`, which pairs the halves of a head, not neighbours.

    Args:
        weight: `[3 dim, dim]`.
        width: Of a head.
    """
    q, k, v = weight.chunk(3)
    order = torch.arange(width).view(-1, 2).t().flatten()
    turned = [part.unflatten(0, (-1, width))[:, order].flatten(0, 1) for part in (q, k)]
    return torch.cat([*turned, v])


def check_speeds(key: str, speeds: Tensor) -> None:
    """Refuse positions that are turned at other speeds than those of `rotated`.

    Raises:
        CheckpointError: Names the tensor.
    """
    expected = 10_000.0 ** (-torch.arange(len(speeds)) / len(speeds))
    if not torch.allclose(speeds.float().cpu(), expected, rtol=1e-4):
        expected_as = f"10000^(-i/{len(speeds)}), the speeds of rotary positions"
        raise CheckpointError(f"{key}: expected {expected_as}; was the file changed?")
