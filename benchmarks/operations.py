"""Which share of a pass through a network goes to which kind of operation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from rich.table import Table
from torch.profiler import ProfilerActivity, profile

PRODUCTS = ("linear", "addmm", "::mm", "bmm", "convolution")
KINDS = {
    "softmax": ("softmax",),
    "layer norm": ("layer_norm",),
    "GELU": ("gelu",),
    "optimiser": ("_fused_adam", "zero_grad"),
    "copies": ("copy_", "cat", "to_mkldnn", "to_dense", "clone", "fill_", "zero_"),
}
WINDOW_AXIS = 3  # dimensions of the input of a layer; a product of one head has two


def shares(work: Callable[[], object]) -> dict[str, float]:
    """Share of the CPU time of every kind of operation, the largest first.

    Args:
        work: Called once to warm up, and once to be measured.
    """
    work()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        work()
    spent: dict[str, float] = defaultdict(float)
    for event in profiled.events():
        if event.self_cpu_time_total > 0 and not event.is_async:
            spent[kind(event)] += event.self_cpu_time_total
    total = sum(spent.values())
    return {name: time / total for name, time in sorted(spent.items(), key=lambda item: -item[1])}


def kind(event: Any) -> str:
    """What an operation is; products of attention apart from those of layers, where an operation tells."""
    names = [one.name for one in _with_parents(event)]
    if any(part in names[0] for part in KINDS["softmax"]):
        return "softmax"
    if "scaled_dot_product" in names[0]:
        return "attention in one kernel"
    if any(part in names[0] for part in PRODUCTS):
        return "products of attention" if _in_attention(event, names) else "products of layers"
    return next((name for name, parts in KINDS.items() if any(part in names[0] for part in parts)), "everything else")


def _in_attention(event: Any, names: list[str]) -> bool:
    """By what called it; without gradients nothing is noted, and only heads have inputs `[rows, width]`."""
    if any("_Attention" in name for name in names):
        return True
    noted = any("_Linear" in name for name in names)
    return "_linear_pointwise" in names[0] and not noted and len(event.input_shapes[0]) < WINDOW_AXIS


def _with_parents(event: Any) -> Iterator[Any]:
    while event is not None:
        yield event
        event = event.cpu_parent


def table(title: str, columns: dict[str, dict[str, float]]) -> Table:
    """A line a kind of operation, a column for every pass."""
    made = Table(title=title, title_justify="left")
    for name in ("", *columns):
        made.add_column(name, justify="left" if not name else "right")
    kinds = dict.fromkeys(name for column in columns.values() for name in column)
    for one in kinds:
        made.add_row(one, *(f"{column[one]:.1%}" if one in column else "" for column in columns.values()))
    return made
