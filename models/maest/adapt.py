"""Weights of one network fitted to another: other lengths, other heads, images instead of spectrograms.

Positions are resized bicubically as in PaSST and MAEST (Koutini et al. 2022, Alonso-Jimenez et al. 2023), image weights
as in AST (Gong et al., Interspeech 2021). Whatever is neither equal, adapted nor stated as left out is an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from models.errors import CheckpointError

POSITIONS = ("stretch", "crop")
MISSING_BLOCKS = ("refuse", "random")
_CLASSIFIERS = ("head.1.", "head_dist.")
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
            lines.append(f"  random: {', '.join(self._by_block(self.reinitialised))}")
        if self.ignored:
            lines.append(f"  ignored: {', '.join(self._by_block(self.ignored))}")
        return "\n".join(lines)

    @staticmethod
    def _by_block(keys: Sequence[str]) -> list[str]:
        """The names, those of one block as one."""
        return list(dict.fromkeys(".".join(key.split(".")[:2]) if key.startswith("blocks.") else key for key in keys))


def adapt(
    source: Mapping[str, torch.Tensor],
    target: Mapping[str, torch.Tensor],
    name: str,
    positions: str = "stretch",
    discard_head: bool = False,
    *,
    absent: Sequence[str] = (),
    missing_blocks: str = "refuse",
    labels: tuple[Sequence[str], Sequence[str]] | None = None,
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
    _drop(state, report, [key for key in state if key.startswith(FRONT_END)])
    if "pos_embed" in state:
        _split_image_positions(state, target, report)
        _drop(state, report, [key for key in state if key.startswith(("head.", "head_dist."))])
        absent = ("head.", "head_dist.")
    else:
        _resize_positions(state, target, report, positions)
    _sum_channels(state, target, report)
    have, want = _depth(state), _depth(target)
    _drop(state, report, [key for key in state if _block(key) >= want])
    if missing_blocks == "random":
        absent = (*absent, *(f"blocks.{number}." for number in range(have, want)))
    _fit_heads(state, target, report, discard_head, labels)
    left_out = set(report.ignored)
    report.reinitialised = [
        key for key in target if key not in state and (key in left_out or key.startswith(tuple(absent)))
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
    labels: tuple[Sequence[str], Sequence[str]] | None,
) -> None:
    """Drops what cannot be kept of the heads, and reorders rows by the names of their classes."""
    if discard_head:
        _drop(state, report, [key for key in state if key.startswith("head")])
    for head in _CLASSIFIERS:
        keys = [key for key in (f"{head}weight", f"{head}bias") if key in state]
        rows = _same_names(state, target, head, labels)
        if rows:
            for key in keys:
                state[key] = _by_name(state[key], target[key], rows)
                report.adapted[key] = f"{len(rows)} of {len(target[key])} classes by name, the others random"
        elif rows is not None or _differs(state, target, f"{head}weight"):
            _drop(state, report, keys)


def _same_names(
    state: State, target: Mapping[str, torch.Tensor], head: str, labels: tuple[Sequence[str], Sequence[str]] | None
) -> dict[int, int] | None:
    """The network's class -> the source's class of the same name; None if names tell nothing or are all the same."""
    key = f"{head}weight"
    if labels is None or key not in state or key not in target or list(labels[0]) == list(labels[1]):
        return None
    theirs, ours = labels
    if (len(theirs), len(ours)) != (len(state[key]), len(target[key])) or state[key].shape[1:] != target[key].shape[1:]:
        return None
    number = {label: index for index, label in enumerate(theirs)}
    return {index: number[label] for index, label in enumerate(ours) if label in number}


def _by_name(source: torch.Tensor, target: torch.Tensor, rows: Mapping[int, int]) -> torch.Tensor:
    fitted = target.clone()
    fitted[list(rows)] = source[list(rows.values())].to(target.dtype)
    return fitted


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
        have, want = _depth(state), _depth(target)
        shallow = f"it has {have} blocks, the network {want}: lower depth, or leave the others random "
        remedy = f"{shallow}(missing_blocks=random)" if have < want else "choose the weights of such a network"
        raise CheckpointError(
            f"{report.source} does not fit the network: {_some('missing', missing)}{_some('unexpected', unexpected)}"
            f"expected the keys of a MAEST, PaSST or distilled DeiT network; {remedy}"
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
