"""Weights of one network fitted to another of its kind: by name and shape, with a report of every tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from models.errors import CheckpointError

State = dict[str, torch.Tensor]
BLOCK = re.compile(r"^(blocks\.[^.]+|\w*[cC]onv\w*\d)\..*")  # whose tensors are told as one
Labels = tuple[Sequence[str], Sequence[str]]  # names of the source's classes and of the network's


@dataclass
class LoadReport:
    """What became of every tensor of a file and of a network.

    Attributes:
        source: Name of the file or release, and the place in it.
        loaded: Taken as they are.
        adapted: Taken after a change, with the change in words.
        reinitialised: Tensors of the network that keep their random values.
        ignored: Tensors of the file that were left out.
        new_heads: Heads of the network where the file, of a network without outputs, has none.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    reinitialised: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    new_heads: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"weights from {self.source}: {len(self.loaded)} tensors loaded"]
        lines += [f"  adapted: {name} ({change})" for name, change in self.adapted.items()]
        new = tuple(self.new_heads)
        replaced = [key for key in self.reinitialised if key in self.ignored and not key.startswith(new)]
        if replaced:
            lines.append(f"  new heads: {', '.join(replaced)}; random here, those of the file are left out")
        if new:
            lines.append(f"  new head: {', '.join(new)}")
        for what, keys in {"random": self.reinitialised, "ignored": self.ignored}.items():
            if rest := [key for key in keys if key not in replaced and not key.startswith(new)]:
                lines.append(f"  {what}: {', '.join(self._by_block(rest))}")
        return "\n".join(lines)

    @staticmethod
    def _by_block(keys: Sequence[str]) -> list[str]:
        """The names, those of one block as one."""
        return list(dict.fromkeys(BLOCK.sub(r"\1", key) for key in keys))


def fit_by_name(
    source: Mapping[str, torch.Tensor],
    target: Mapping[str, torch.Tensor],
    name: str,
    heads: Sequence[str],
    discard_head: bool = False,
    absent: Sequence[str] = (),
    labels: Labels | None = None,
) -> tuple[State, LoadReport]:
    """Fit weights by name and shape; only heads may have another number of classes.

    Args:
        source: Tensors to start from.
        target: `state_dict` of the network; gives names and shapes, and the values of what is re-initialised.
        name: What to call the source in messages.
        heads: Beginnings of the names of tensors that belong to the classifiers.
        discard_head: Drop everything that belongs to the heads, whatever its shape.
        absent: Beginnings of names that the source's layout has no place for; such tensors keep their random values.
        labels: Where the names of classes differ, a class of the network takes the rows of the class of the same name.

    Returns:
        A complete state for the network, and the report.

    Raises:
        CheckpointError: Anything else is missing, unexpected, of another shape or not finite; names the first keys.
    """
    state, report = dict(source), LoadReport(name)
    belongs = tuple(heads)
    of_heads = [key for key in state if key.startswith(belongs)]
    if of_heads and not any(state[key].numel() for key in of_heads):  # of a network without outputs
        own = {key: tensor for key, tensor in target.items() if key.startswith(belongs)}
        state = {key: tensor for key, tensor in state.items() if key not in of_heads}
        state |= {key: tensor for key, tensor in own.items() if not tensor.numel()}
        report.new_heads = [head.rstrip(".") for head in belongs if any(k.startswith(head) for k in own.keys() - state)]
        absent = (*absent, *belongs)
    elif discard_head:
        drop(state, report, of_heads)
        absent = (*absent, *belongs)  # heads of another form, too
    for key in [key for key in of_heads if key in state and key in target]:
        rows = same_names(state, target, key, labels)
        if rows:
            state[key] = rows_by_name(state[key], target[key], rows)
            report.adapted[key] = by_name_note(rows, target[key])
        elif rows is not None or differs(state, target, key):
            drop(state, report, [key])
    ignored = set(report.ignored)
    report.reinitialised = [
        key for key in target if key not in state and (key in ignored or key.startswith(tuple(absent)))
    ]
    _check(state, target, report, belongs)
    report.loaded = [key for key in target if key in state and key not in report.adapted]
    return {key: state.get(key, value) for key, value in target.items()}, report


def drop(state: State, report: LoadReport, keys: Sequence[str]) -> None:
    """Leave tensors of the source out."""
    for key in keys:
        del state[key]
    report.ignored += keys


def differs(state: State, target: Mapping[str, torch.Tensor], key: str) -> bool:
    """Whether a tensor has another number of rows than the network's."""
    return key in state and key in target and state[key].shape[:1] != target[key].shape[:1]


def same_names(
    state: State, target: Mapping[str, torch.Tensor], key: str, labels: Labels | None
) -> dict[int, int] | None:
    """The network's class -> the source's class of the same name; None if names tell nothing or are all the same.

    Args:
        state: Of the source.
        target: Of the network.
        key: A tensor of a head, one row a class.
        labels: Names of both.
    """
    if labels is None or key not in state or key not in target or list(labels[0]) == list(labels[1]):
        return None
    theirs, ours = labels
    shapes = state[key].shape, target[key].shape
    if not shapes[0] or not shapes[1] or shapes[0][1:] != shapes[1][1:]:
        return None
    if (len(theirs), len(ours)) != (shapes[0][0], shapes[1][0]):
        return None
    number = {label: index for index, label in enumerate(theirs)}
    return {index: number[label] for index, label in enumerate(ours) if label in number}


def rows_by_name(source: torch.Tensor, target: torch.Tensor, rows: Mapping[int, int]) -> torch.Tensor:
    """The network's rows, those of `rows` taken from the source."""
    fitted = target.clone()
    fitted[list(rows)] = source[list(rows.values())].to(target.dtype)
    return fitted


def by_name_note(rows: Mapping[int, int], target: torch.Tensor) -> str:
    """What a report says of such a tensor."""
    return f"{len(rows)} of {len(target)} classes by name, the others random"


def first_keys(what: str, keys: Sequence[str]) -> str:
    """The first of some keys as part of a message; nothing for none."""
    if not keys:
        return ""
    more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
    return f"{what} {', '.join(keys[:4])}{more}; "


def check_finite(state: Mapping[str, torch.Tensor], name: str) -> None:
    """Refuse weights of a diverged training.

    Raises:
        CheckpointError: One is NaN or infinite; names the tensor.
    """
    for key, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name}: {key} holds NaN or infinite values; choose another checkpoint")


def _check(state: State, target: Mapping[str, torch.Tensor], report: LoadReport, heads: tuple[str, ...]) -> None:
    missing = [key for key in target if key not in state and key not in report.reinitialised]
    unexpected = [key for key in state if key not in target]
    if missing or unexpected:
        raise CheckpointError(
            f"{report.source} does not fit the network: "
            f"{first_keys('missing', missing)}{first_keys('unexpected', unexpected)}"
            f"is it a checkpoint of another network, or was it changed?"
        )
    for key, tensor in state.items():
        if tensor.shape != target[key].shape:
            remedy = (
                "load with checkpoint_discard_head=True"
                if key.startswith(heads)
                else "build the network with the arguments of that file"
            )
            raise CheckpointError(
                f"{report.source}: {key} has the shape {list(tensor.shape)}, the network expects "
                f"{list(target[key].shape)}; {remedy}"
            )
    check_finite(state, report.source)
