"""The grid of a sweep as a picture: the validation score of every point."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from experiments import reports
from experiments.probes.fitted import ProbeConfig
from experiments.probes.tile_files import Record

SHORT = {"standardise": "scaled", "batch_size": "batch", "learning_rate": "lr", "hidden": "hidden", "dropout": "drop"}
MOST_CELLS = 1500


def layout(configs: Sequence[ProbeConfig]) -> tuple[list[str], list[str]]:
    """Which axes of a grid are rows and which are columns of the picture: the first half, and the rest."""
    names = [one.name for one in fields(ProbeConfig)]
    varying = [name for name in names if len({getattr(config, name) for config in configs}) > 1]
    return varying[: len(varying) // 2], varying[len(varying) // 2 :]


def grid_picture(records: Sequence[Record], metric: str, path: str | Path, title: str) -> Path | None:
    """Draw the points in per cent by two halves of the axes that vary; failed ones stay white, the best is framed.

    Returns:
        The file; None where there is but one point, or far too many.
    """
    if not 1 < len(records) <= MOST_CELLS:
        return None
    path, (rows, columns) = Path(path), layout([record.config for record in records])
    places = [tuple(tuple(getattr(r.config, name) for name in half) for half in (rows, columns)) for r in records]
    across = [list(dict.fromkeys(place[half] for place in places)) for half in (0, 1)]
    values = np.full((len(across[0]), len(across[1])), np.nan)
    for record, (row, column) in zip(records, places, strict=True):
        if record.value is not None:
            values[across[0].index(row), across[1].index(column)] = 100 * record.value
    best = places[min(range(len(records)), key=lambda number: records[number].rank)]
    size = 3.2 + 0.42 * len(across[1]), 2.2 + 0.42 * len(across[0])
    with reports.picture(path, max(7.0, size[0]), max(3.0, size[1])) as (axis,):
        image = axis.imshow(values, aspect="auto", cmap="viridis")
        axis.set_xticks(range(len(across[1])), [_cell(columns, cell) for cell in across[1]], rotation=90, fontsize=8)
        axis.set_yticks(range(len(across[0])), [_cell(rows, cell) for cell in across[0]], fontsize=8)
        frame = (across[1].index(best[1]), across[0].index(best[0]))
        axis.plot(*frame, marker="s", markersize=13, markerfacecolor="none", markeredgecolor="red", markeredgewidth=2)
        axis.grid(visible=False)
        axis.set_title(textwrap.fill(title, int(9 * max(7.0, size[0]) - 13)), fontsize=11)
        axis.figure.colorbar(image, ax=axis, label=f"{metric}, per cent")
    return path


def _cell(names: Sequence[str], values: Sequence[object]) -> str:
    return ", ".join(f"{SHORT.get(name, name)} {_word(value)}" for name, value in zip(names, values, strict=True))


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else {None: "none", True: "yes", False: "no"}.get(value, str(value))
