"""Weights of one network fitted to another: other lengths, other heads, images instead of spectrograms.

Positions are resized bicubically as in PaSST and MAEST (Koutini et al. 2022, Alonso-Jimenez et al. 2023), image weights
as in AST (Gong et al., Interspeech 2021). Whatever is neither equal, adapted nor stated as left out is an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from models.errors import CheckpointError
from models.initial_weights import (
    Labels,
    LoadReport,
    State,
    by_name_note,
    check_finite,
    differs,
    drop,
    first_keys,
    rows_by_name,
    same_names,
)
from models.maest.published import FRONT_END

POSITIONS = ("stretch", "crop")
MISSING_BLOCKS = ("refuse", "random")
_CLASSIFIERS = ("head.1.", "head_dist.")


def adapt(
    source: Mapping[str, torch.Tensor],
    target: Mapping[str, torch.Tensor],
    name: str,
    positions: str = "stretch",
    discard_head: bool = False,
    *,
    absent: Sequence[str] = (),
    missing_blocks: str = "refuse",
    labels: Labels | None = None,
) -> tuple[State, LoadReport]:
    """Fits weights to a MAEST network.

    In this order: positional embeddings (of another length, another number of bands, or of an image), the patch
    convolution (three channels summed to one), the blocks (those after the network's last are left out), the heads
    (dropped if the number of classes differs, unless classes can be told apart by name).

    Args:
        source: Tensors of a MAEST, PaSST or distilled DeiT network.
        target: `state_dict` of the network; gives names and shapes, and the values of what is re-initialised.
        name: What to call the source in messages.
        positions: "stretch" resizes positions along time to the network's number; "crop" takes the first ones.
        discard_head: Drop everything that belongs to the heads, whatever its shape.
        absent: Beginnings of names that the source's layout has no place for; such tensors keep their random values.
        missing_blocks: "refuse" a source with fewer blocks than the network, or leave the others "random".
        labels: Names of the source's classes and of the network's. Where they differ, a class of the network takes the
            head's row of the class of the same name.

    Returns:
        A complete state for the network, and the report.

    Raises:
        CheckpointError: If anything else is missing, unexpected, of another shape or not finite.
    """
    _check_choice("positions", positions, POSITIONS)
    _check_choice("missing_blocks", missing_blocks, MISSING_BLOCKS)
    state, report = dict(source), LoadReport(name)
    drop(state, report, [key for key in state if key.startswith(FRONT_END)])
    if "pos_embed" in state:
        _split_image_positions(state, target, report)
        drop(state, report, [key for key in state if key.startswith(("head.", "head_dist."))])
        absent = ("head.", "head_dist.")
    else:
        _resize_positions(state, target, report, positions)
    _sum_channels(state, target, report)
    have, want = _depth(state), _depth(target)
    drop(state, report, [key for key in state if _block(key) >= want])
    if missing_blocks == "random":
        absent = (*absent, *(f"blocks.{number}." for number in range(have, want)))
    _fit_heads(state, target, report, discard_head, labels)
    ignored = set(report.ignored)
    report.reinitialised = [
        key for key in target if key not in state and (key in ignored or key.startswith(tuple(absent)))
    ]
    _check(state, target, report)
    report.loaded = [key for key in target if key in state and key not in report.adapted]
    return {key: state.get(key, value) for key, value in target.items()}, report


def _check_choice(setting: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise CheckpointError(f"{setting}={value!r}: expected one of {', '.join(choices)}")


def _block(key: str) -> int:
    """Number of the block a tensor belongs to, -1 outside the blocks."""
    parts = key.split(".")
    return int(parts[1]) if parts[0] == "blocks" and len(parts) > 2 and parts[1].isdigit() else -1


def _depth(state: Mapping[str, torch.Tensor]) -> int:
    return 1 + max(map(_block, state), default=-1)


def _fit_heads(
    state: State,
    target: Mapping[str, torch.Tensor],
    report: LoadReport,
    discard_head: bool,
    labels: Labels | None,
) -> None:
    """Drops what cannot be kept of the heads, and reorders rows by the names of their classes."""
    report.new_heads = [head.partition(".")[0] for head in _CLASSIFIERS if _grown(state, target, f"{head}weight")]
    if discard_head:
        drop(state, report, [key for key in state if key.startswith("head")])
    for head in _CLASSIFIERS:
        keys = [key for key in (f"{head}weight", f"{head}bias") if key in state]
        rows = same_names(state, target, f"{head}weight", labels)
        if rows:
            for key in keys:
                state[key] = rows_by_name(state[key], target[key], rows)
                report.adapted[key] = by_name_note(rows, target[key])
        elif rows is not None or differs(state, target, f"{head}weight"):
            drop(state, report, keys)


def _grown(state: State, target: Mapping[str, torch.Tensor], key: str) -> bool:
    """Whether the network has a head where the source, trained without labels, has none."""
    return key in state and key in target and not state[key].numel() and bool(target[key].numel())


def _bicubic(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(image.float(), size=size, mode="bicubic", align_corners=False)


def _resize_positions(state: State, target: Mapping[str, torch.Tensor], report: LoadReport, positions: str) -> None:
    for key in ("freq_new_pos_embed", "time_new_pos_embed"):
        if key not in state or key not in target or state[key].shape == target[key].shape:
            continue
        old, new = state[key], tuple(target[key].shape)
        if old.ndim != 4 or old.shape[:2] != new[:2]:
            continue
        if positions == "crop" and key.startswith("time"):
            if old.shape[3] < new[3]:
                raise CheckpointError(
                    f"{report.source}: {key} has {old.shape[3]} positions, the network {new[3]}: "
                    f"too few to crop; use positions='stretch'"
                )
            state[key], change = old[..., : new[3]].clone(), "cropped"
        else:
            state[key], change = _bicubic(old, new[2:]), "stretched"
        report.adapted[key] = f"{change} from {list(old.shape)} to {list(new)}"


def _split_image_positions(state: State, target: Mapping[str, torch.Tensor], report: LoadReport) -> None:
    """Positions of a square grid of image patches -> rows are frequency, columns are time."""
    combined = state.pop("pos_embed")
    side = math.isqrt(max(combined.shape[1] - 2, 0))
    if "dist_token" not in state or side * side != combined.shape[1] - 2:
        raise CheckpointError(
            f"{report.source}: its pos_embed {list(combined.shape)} and "
            f"{'its' if 'dist_token' in state else 'the lack of a'} dist_token are not those of a distilled DeiT "
            f"(2 + n x n positions); use the distilled file, deit_base_distilled_patch16_384"
        )
    dim = combined.shape[2]
    rows, columns = target["freq_new_pos_embed"].shape[2], target["time_new_pos_embed"].shape[3]
    grid = combined[:, 2:].reshape(1, side, side, dim).permute(0, 3, 1, 2)
    grid = _bicubic(grid, (rows, columns))
    state["new_pos_embed"] = combined[:, :2].clone()
    state["freq_new_pos_embed"] = grid.mean(dim=3, keepdim=True)
    state["time_new_pos_embed"] = grid.mean(dim=2, keepdim=True)
    report.adapted["new_pos_embed"] = f"first two of pos_embed {list(combined.shape)}"
    report.adapted["freq_new_pos_embed"] = f"mean over time of pos_embed, stretched from {side} x {side}"
    report.adapted["time_new_pos_embed"] = f"mean over frequency of pos_embed, stretched from {side} x {side}"


def _sum_channels(state: State, target: Mapping[str, torch.Tensor], report: LoadReport) -> None:
    key = "patch_embed.proj.weight"
    if (
        key in state
        and key in target
        and state[key].ndim == 4
        and state[key].shape[1] == 3
        and target[key].shape[1] == 1
    ):
        state[key] = state[key].float().sum(dim=1, keepdim=True)
        report.adapted[key] = "three channels summed to one"


def _check(state: State, target: Mapping[str, torch.Tensor], report: LoadReport) -> None:
    missing = [key for key in target if key not in state and key not in report.reinitialised]
    unexpected = [key for key in state if key not in target]
    if missing or unexpected:
        have, want = _depth(state), _depth(target)
        shallow = f"it has {have} blocks, the network {want}: lower depth, or leave the others random "
        remedy = f"{shallow}(missing_blocks=random)" if have < want else "choose the weights of such a network"
        raise CheckpointError(
            f"{report.source} does not fit the network: "
            f"{first_keys('missing', missing)}{first_keys('unexpected', unexpected)}"
            f"expected the keys of a MAEST, PaSST or distilled DeiT network; {remedy}"
        )
    for key, tensor in state.items():
        if tensor.shape != target[key].shape:
            raise CheckpointError(
                f"{report.source}: {key} has the shape {list(tensor.shape)}, the network expects "
                f"{list(target[key].shape)}; {_remedy(key)}"
            )
    check_finite(state, report.source)


def _remedy(key: str) -> str:
    if key.startswith("head"):
        return "load with discard_head=True, or set n_classes to that of the file"
    if key == "patch_embed.proj.weight":
        return "patches must be 16 x 16 on one or three channels, with the same dim"
    return "build the network with the dim, heads and mlp_ratio of the file"
