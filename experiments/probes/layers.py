"""Layers of a network side by side: their order, and the score by layer as a picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.store import Store
from experiments import reports
from experiments.encoder import UNNAMED
from experiments.probes.records import SUM, layer_name
from experiments.probes.rows import Row

FEWEST = 3  # layers of a picture


def by_number(layer: int | str) -> tuple[bool, list[tuple[int, str]]]:
    """What layers are sorted by where the network is not known: blocks first, `layer2` before `layer10`."""
    parts = re.split(r"(\d+)", str(layer))
    return isinstance(layer, str), [(int(part) if part.isdecimal() else -1, part) for part in parts]


def in_order(stores: Sequence[Store]) -> list[Store]:
    """Stores of layers in the order in which their network computes them; of an unknown network as they are."""
    order = _layer_names(stores[0]) if len(stores) > 1 else ()
    names = [str((store.header.producer or {}).get("layer", "")) for store in stores]
    if not set(names) <= set(order):
        return list(stores)
    return [store for _, store in sorted(zip(names, stores, strict=True), key=lambda pair: order.index(pair[0]))]


def _layer_names(store: Store) -> tuple[str, ...]:
    """Of the network that made a store; empty where it is not one of this project."""
    producer = store.header.producer or {}
    if "layer" not in producer:
        return ()
    import torch

    from models import networks

    try:
        kind = networks.find(str(producer.get("class", UNNAMED)))
        with torch.device("meta"):
            return tuple(kind(**producer["network"]).layer_names)
    except (ValueError, TypeError, KeyError):
        return ()


def layer_picture(rows: Sequence[Row], path: Path, title: str, over: str) -> Path | None:
    """Draw the score by layer with its interval in per cent, a line an encoder; other rows are dotted lines.

    Args:
        rows: Of one task, in the order of the layers.
        path: Of the PNG file.
        title: Above it.
        over: What the intervals are over.

    Returns:
        The file; None where no encoder has layers enough.
    """
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if row.score.block not in ("", SUM):
            name = ", ".join(filter(None, (row.score.encoder, row.score.tokens, _pooled(row.score.pooling))))
            lines.setdefault(name, []).append(row)
    lines = {name: of_encoder for name, of_encoder in lines.items() if len(of_encoder) >= FEWEST}
    if not lines:
        return None
    drawn = {id(row) for of_encoder in lines.values() for row in of_encoder}
    metric = rows[0].score.metric
    ticks = list(dict.fromkeys(_short(row) for of_encoder in lines.values() for row in of_encoder))
    with reports.picture(path, max(7.0, 3.0 + 0.5 * len(ticks)), 5.0) as (axis,):
        for number, (name, of_encoder) in enumerate(lines.items()):
            values = 100 * np.array([row.metrics[metric] for row in of_encoder]).T
            places = [ticks.index(_short(row)) for row in of_encoder]
            colour = reports.COLOURS[number % len(reports.COLOURS)]
            axis.plot(places, values[0], marker="o", color=colour, label=reports.short_name(name))
            axis.fill_between(places, values[1], values[2], color=colour, alpha=0.2, linewidth=0)
        for number, row in enumerate(row for row in rows if id(row) not in drawn):
            colour = reports.COLOURS[(len(lines) + number) % len(reports.COLOURS)]
            value = 100 * row.metrics[metric][0]
            axis.axhline(value, color=colour, linestyle=":", label=reports.short_name(row.label))
        axis.set_xticks(range(len(ticks)), ticks, rotation=45, ha="right")
        axis.set_ylabel(f"{metric}, per cent")
        axis.set_xlabel(f"layer, from the input on; 95 % interval over {over}")
        axis.set_title(title)
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return path


def _short(row: Row) -> str:
    return layer_name(row.score.block).removeprefix("layer ")


def _pooled(pooling: str) -> str:
    return "" if pooling == "mean" else pooling
