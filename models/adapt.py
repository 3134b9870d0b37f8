"""Weights of one network fitted to another: other lengths, other heads, images instead of spectrograms.

Positions are resized bicubically as in PaSST and MAEST (Koutini et al. 2022, Alonso-Jimenez et al. 2023), image weights
as in AST (Gong et al., Interspeech 2021). Whatever is neither equal, adapted nor stated as left out is an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from models.errors import CheckpointError

POSITIONS = ("stretch", "crop")
_CLASSIFIER = ("head.1.", "head_dist.")
FRONT_END = "melspectrogram."
State = dict[str, torch.Tensor]


@dataclass
class LoadReport:
    """What became of every tensor of a file and of a network.

    Attributes:
        source: Name of the file or release, and the place in it.
        loaded: Taken as they are.
        adapted: Taken after a change, with the change in words.
        reinitialised: Tensors of the network that keep their random values.
        ignored: Tensors of the file that were left out.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    reinitialised: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"weights from {self.source}: {len(self.loaded)} tensors loaded"]
        lines += [f"  adapted: {name} ({change})" for name, change in self.adapted.items()]
        if self.reinitialised:
            lines.append(f"  random: {', '.join(self.reinitialised)}")
        if self.ignored:
            lines.append(f"  ignored: {', '.join(self.ignored)}")
        return "\n".join(lines)


def adapt(
    source: Mapping[str, torch.Tensor],
    target: Mapping[str, torch.Tensor],
    name: str,
    positions: str = "stretch",
    discard_head: bool = False,
) -> tuple[State, LoadReport]:
    """Fits weights to a MAEST network.

    In this order: positional embeddings (of another length, another number of bands, or of an image), the patch
    convolution (three channels summed to one), the heads (dropped if the number of classes differs).

    Args:
        source: Tensors of a MAEST, PaSST or distilled DeiT network.
        target: `state_dict` of the network; gives names and shapes, and the values of what is re-initialised.
        name: What to call the source in messages.
        positions: "stretch" resizes positions along time to the network's number; "crop" takes the first ones.
        discard_head: Drop everything that belongs to the heads, whatever its shape.

    Returns:
        A complete state for the network, and the report.

    Raises:
        CheckpointError: If anything else is missing, unexpected, of another shape or not finite.
    """
    if positions not in POSITIONS:
        raise CheckpointError(f"positions={positions!r}: expected one of {', '.join(POSITIONS)}")
    state, report = dict(source), LoadReport(name)
    _drop(state, report, [key for key in state if key.startswith(FRONT_END)])
    image = "pos_embed" in state
    if image:
        _split_image_positions(state, target, report)
        _drop(state, report, [key for key in state if key.startswith(("head.", "head_dist."))])
    else:
        _resize_positions(state, target, report, positions)
    _sum_channels(state, target, report)
    if discard_head:
        _drop(state, report, [key for key in state if key.startswith("head")])
    elif _differs(state, target, "head.1.weight"):
        _drop(state, report, [key for key in state if key.startswith(_CLASSIFIER)])
    left_out = set(report.ignored)
    report.reinitialised = [
        key for key in target if key not in state and (key in left_out or (image and key.startswith("head")))
    ]
    _check(state, target, report)
    report.loaded = [key for key in target if key in state and key not in report.adapted]
    return {key: state.get(key, value) for key, value in target.items()}, report


def _drop(state: State, report: LoadReport, keys: list[str]) -> None:
    for key in keys:
        del state[key]
    report.ignored += keys


def _differs(state: State, target: Mapping[str, torch.Tensor], key: str) -> bool:
    return key in state and key in target and state[key].shape[0] != target[key].shape[0]


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
        raise CheckpointError(
            f"{report.source} does not fit the network: {_some('missing', missing)}{_some('unexpected', unexpected)}"
            f"expected the keys of a MAEST, PaSST or distilled DeiT network of the same depth; "
            f"set depth and arch to those of the file, or choose other weights"
        )
    for key, tensor in state.items():
        if tensor.shape != target[key].shape:
            raise CheckpointError(
                f"{report.source}: {key} has the shape {list(tensor.shape)}, the network expects "
                f"{list(target[key].shape)}; {_remedy(key)}"
            )
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{report.source}: {key} holds NaN or infinite values; choose another checkpoint")


def _some(what: str, keys: list[str]) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
    return f"{what} {', '.join(keys[:4])}{more}; "


def _remedy(key: str) -> str:
    if key.startswith("head"):
        return "load with discard_head=True, or set n_classes to that of the file"
    if key == "patch_embed.proj.weight":
        return "patches must be 16 x 16 on one or three channels, with the same dim"
    return "build the network with the dim, heads and mlp_ratio of the file"
