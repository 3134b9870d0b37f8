"""The curves of a training as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import reports
from experiments.errors import UserError

Series = Mapping[str, Sequence[tuple[float, float]]]
Groups = Mapping[str, Sequence[str]]

FIRST, LAST = "loss", "lr"  # panels; the others stand between them


def panels(series: Series, groups: Groups | None = None) -> dict[str, dict[str, str]]:
    """Sort series named `split/metric` into panels.

    Args:
        series: Those without a finite point are left out. A name without a slash is a metric of no split.
        groups: Title of a panel -> metrics that are drawn together in it. Where there are any, a validation's metrics
            that are in none are left out, but for losses.

    Returns:
        Title -> label of a line -> name of its series. What is in no group has a panel a metric, a line a split.
    """
    group_of = {metric: title for title, metrics in (groups or {}).items() for metric in metrics}
    found: dict[str, dict[str, str]] = {}
    for name, values in series.items():
        split, _, metric = name.rpartition("/")
        left_out = group_of and metric not in group_of and split == "val" and not metric.startswith(FIRST)
        if left_out or not len(_points(values)):
            continue
        title = group_of.get(metric, metric)
        lines, label = found.setdefault(title, {}), split if title == metric else metric
        lines[name if label in lines else label] = name
    order = {title: place for place, title in enumerate([FIRST, *(groups or {})])}
    return dict(sorted(found.items(), key=lambda one: (one[0] == LAST, order.get(one[0], len(order)))))


def training_curves(series: Series, path: str | Path, groups: Groups | None = None, x_label: str = "step") -> Path:
    """Draw metrics over training, a panel a metric or group, training and validation in the same panel.

    Args:
        series: `split/metric`, e.g. `val/loss` -> (step, value) pairs. Values that are not finite are left out and
            counted in the panel's title.
        path: Of the PNG file.
        groups: As `panels` takes them; their scores are drawn between 0 and 1 where none lies outside.
        x_label: What a step is.

    Raises:
        UserError: There is no finite point to draw.
    """
    path, sorted_out = Path(path), panels(series, groups)
    if not sorted_out:
        raise UserError(f"{path.name}: none of {len(series)} series has a finite value to draw")
    columns = min(len(sorted_out), 2)
    rows = -(-len(sorted_out) // columns)
    with reports.picture(path, 9 if columns == 1 else 11, 1 + 3.4 * rows, rows, columns) as axes:
        for axis, (title, lines) in zip(axes, sorted_out.items(), strict=False):
            points = {label: _points(series[name]) for label, name in lines.items()}
            lost = sum(len(series[name]) - len(points[label]) for label, name in lines.items())
            _draw(axis, points)
            if title in (groups or {}) and all(0 <= one <= 1 for line in points.values() for one in line[:, 1]):
                axis.set_ylim(-0.02, 1.02)
            axis.set_title(f"{title} ({lost} not finite)" if lost else title)
            axis.set_xlabel(x_label)
        for axis in axes[len(sorted_out) :]:
            axis.remove()
    return path


def _points(values: Sequence[tuple[float, float]]) -> np.ndarray:
    """The finite ones, `[n, 2]`, ordered by step."""
    points = np.array(values, dtype=float).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    return points[np.argsort(points[:, 0], kind="stable")]


def _draw(axis: Any, lines: Mapping[str, np.ndarray]) -> None:
    for number, (label, points) in enumerate(lines.items()):
        colour = reports.SPLIT_COLOURS.get(label, reports.COLOURS[number % len(reports.COLOURS)])
        marker = reports.MARKERS[number % len(reports.MARKERS)] if len(points) <= reports.MARKERS_UP_TO else None
        axis.plot(*points.T, label=label, color=colour, marker=marker)
    if any(lines):
        axis.legend()
