"""Tensors of MAEST under the names of Hugging Face's Audio Spectrogram Transformer (AST), and back.

AST holds queries, keys and values apart, and one table of positions where MAEST has one over frequency and one over
time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from models.errors import CheckpointError
from models.layouts import State
from models.maest import MAEST

BODY = "audio_spectrogram_transformer."
POSITIONS = "embeddings.position_embeddings"
_ROUNDINGS = 4  # a sum rounded once is off by half of an epsilon, its marginal means a little more

_NAMES = {
    "cls_token": "embeddings.cls_token",
    "dist_token": "embeddings.distillation_token",
    "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
    "norm.": "layernorm.",
}
_BLOCK_NAMES = {
    "norm1.": "layernorm_before.",
    "norm2.": "layernorm_after.",
    "attn.proj.": "attention.output.dense.",
    "mlp.fc1.": "intermediate.dense.",
    "mlp.fc2.": "output.dense.",
}
_HEAD_NAMES = {"head.0.": "classifier.layernorm.", "head.1.": "classifier.dense."}
_THIRDS = ("query", "key", "value")


def has_layout(state: Mapping[str, Any]) -> bool:
    """Whether these are the names of an AST, with or without its classifier."""
    return any(key.removeprefix(BODY) == POSITIONS for key in state)


def theirs(network: MAEST) -> State:
    """The tensors under the names of AST."""
    state = network.state_dict()
    grid = state["freq_new_pos_embed"] + state["time_new_pos_embed"]
    table = torch.cat([state["new_pos_embed"], grid.flatten(2).transpose(1, 2)], dim=1)
    renamed: State = {f"{BODY}{POSITIONS}": table}
    for key, tensor in state.items():
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", key)
        if key.endswith("pos_embed") or key.startswith("head_dist."):
            continue
        if key.startswith("head."):
            renamed[_renamed(key, _HEAD_NAMES)] = tensor
        elif block is None:
            renamed[BODY + _renamed(key, _NAMES)] = tensor
        elif block[2].startswith("attn.qkv."):
            for name, third in zip(_THIRDS, tensor.chunk(3), strict=True):
                renamed[f"{BODY}encoder.layer.{block[1]}.attention.attention.{name}.{block[2][9:]}"] = third.clone()
        else:
            renamed[f"{BODY}encoder.layer.{block[1]}.{_renamed(block[2], _BLOCK_NAMES)}"] = tensor
    return renamed


def ours(state: State, rows: int, columns: int, name: str, exact: bool) -> tuple[State, dict[str, str]]:
    """The tensors under our names, without `head_dist`; what is not of an AST keeps its own name.

    Args:
        state: Tensors of an AST.
        rows: Patches along frequency.
        columns: Patches along time.
        name: What to call the source in messages.
        exact: Refuse a table of positions that is no sum; otherwise the nearest sum is taken.

    Returns:
        The tensors, and what was changed of which.

    Raises:
        CheckpointError: If the positions are no sum and `exact`, or if a tensor is missing or has another shape.
    """
    theirs = {key.removeprefix(BODY): tensor for key, tensor in state.items()}
    table = theirs.pop(POSITIONS)
    renamed, notes = _positions(table, rows, columns, name, exact)
    back = {name: key for key, name in (_NAMES | _HEAD_NAMES).items()}
    back_in_block = {name: key for key, name in _BLOCK_NAMES.items()}
    for key, tensor in theirs.items():
        layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", key)
        if layer is None:
            renamed[_renamed(key, back)] = tensor.float()
        elif not layer[2].startswith("attention.attention."):
            renamed[f"blocks.{layer[1]}.{_renamed(layer[2], back_in_block)}"] = tensor.float()
        elif layer[2].startswith("attention.attention.query."):
            thirds = [theirs.get(key.replace(".query.", f".{third}.")) for third in _THIRDS]
            if any(third is None for third in thirds):
                raise CheckpointError(f"{name}: beside {key} its key or its value is missing; the file is not whole")
            if len({third.shape for third in thirds}) > 1 or not thirds[0].ndim:
                raise CheckpointError(f"{name}: {key}, its key and its value have different shapes; was it changed?")
            renamed[f"blocks.{layer[1]}.attn.qkv.{key.rsplit('.', 1)[1]}"] = torch.cat(thirds).float()
    return renamed, notes


def _positions(table: torch.Tensor, rows: int, columns: int, name: str, exact: bool) -> tuple[State, dict[str, str]]:
    """The three tensors of positions, and what was lost."""
    if table.ndim != 3 or table.shape[1] != 2 + rows * columns:
        raise CheckpointError(
            f"{name}: its table of positions has the shape {list(table.shape)}, bands, length and strides say "
            f"2 + {rows} x {columns}: weights and configuration do not belong together"
        )
    frequency, time, residual = split_positions(table[0, 2:].unflatten(0, (rows, columns)))
    renamed: State = {
        "new_pos_embed": table[:, :2].float().contiguous(),
        "freq_new_pos_embed": frequency,
        "time_new_pos_embed": time,
    }
    if residual <= _ROUNDINGS * torch.finfo(table.dtype).eps:
        return renamed, {}
    off = f"off by up to {residual:.2g} of its largest value"
    if exact:
        raise CheckpointError(
            f"{name}: its positions are no sum of one over frequency and one over time ({off}), as of a network "
            f"trained further with one table, which MAEST cannot hold; "
            f"take it as initial weights (model.checkpoint): the nearest sum is used there, and reported"
        )
    change = f"nearest sum to one table of positions, {off}"
    return renamed, {"freq_new_pos_embed": change, "time_new_pos_embed": change}


def split_positions(grid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The sum of a table over frequency and one over time that is nearest to a grid of positions.

    Args:
        grid: `[rows, columns, dim]`.

    Returns:
        `[1, dim, rows, 1]`, `[1, dim, 1, columns]`, and the largest difference in units of the grid's largest value.
    """
    exact = grid.double()
    frequency, time = exact.mean(dim=1), exact.mean(dim=0) - exact.mean(dim=(0, 1))
    residual = (exact - frequency[:, None] - time[None]).abs().max() / exact.abs().max().clamp(min=1e-30)
    return (
        frequency.t()[None, :, :, None].float().contiguous(),
        time.t()[None, :, None].float().contiguous(),
        float(residual),
    )


def _renamed(key: str, names: Mapping[str, str]) -> str:
    start = next((start for start in names if key.startswith(start)), None)
    return key if start is None else names[start] + key.removeprefix(start)
