"""The pictures of a run, as PNG files in one style.

Each function draws plain values and returns the path of the file, which is replaced whole. Colours are those of Okabe
and Ito (2008) and the map cividis, which stay apart under the common colour blindnesses; letters are large enough for
the preview of a run browser.
"""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from datasets.text import printable, printable_lines
from experiments.errors import UserError

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MUTED = "#6B6B6B"
COLOUR_MAP = "cividis"
SPLIT_COLOURS = {"train": COLOURS[0], "val": COLOURS[1], "valid": COLOURS[1], "test": COLOURS[2]}
STYLE: Mapping[str, Any] = {
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler('color', {list(COLOURS)})",
    "grid.color": "#E3E3E3",
    "lines.linewidth": 2,
    "legend.frameon": False,
    "savefig.dpi": 100,
    "savefig.facecolor": "white",
    "text.parse_math": False,
}
CHANCE = {"roc_auc": 0.5}
MOST_BARS = 40
MOST_NUMBERED = 20  # classes of a confusion matrix whose cells still have room for a number
LONGEST_NAME = 26
MARKERS_UP_TO = 40  # points of a line
TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000)  # seconds
MOST_TIMES = 10  # intervals between times that are named


@contextmanager
def picture(
    path: Path, width: float, height: float, rows: int = 1, columns: int = 1, **arrangement: Any
) -> Iterator[list]:
    """Give axes to draw on, in inches of 100 pixels, and write the file at the end; `arrangement` is of `subplots`."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield list(figure.subplots(rows, columns, squeeze=False, **arrangement).flat)
        drawn = io.BytesIO()
        for text in figure.findobj(mpl.text.Text):  # titles and legends hold names too
            text.set_text(printable_lines(text.get_text()))
        figure.savefig(drawn, format="png")
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(drawn.getvalue())
    os.replace(aside, path)


def with_interval(value: float, low: float, high: float) -> str:
    """`85.2 ± 2.1`: a score and half of its interval, in per cent."""
    return f"{100 * value:.1f} ± {50 * (high - low):.1f}"


def with_ends(value: float, low: float, high: float) -> str:
    """`85.2 (82.0-87.1)`: a score and the ends of its interval, which may lie unequally far from it, in per cent."""
    to = "-" if low >= 0 else " to "
    return f"{100 * value:.1f} ({100 * low:.1f}{to}{100 * high:.1f})"


def short_name(name: str, most: int = LONGEST_NAME) -> str:
    """A name of at most so many letters; of a longer one the start and the end, which tell names apart."""
    name, end = printable(name), most // 2
    return name if len(name) <= most else name[: most - 1 - end] + "…" + name[-end:]


def short_names(names: Sequence[str], most: int = LONGEST_NAME) -> list[str]:
    """`short_name` of each; those that would be called alike keep all of their letters."""
    names = [printable(name) for name in names]
    short = [short_name(name, most) for name in names]
    return [name if short.count(cut) > 1 else cut for name, cut in zip(names, short, strict=True)]


def ranked(per_class: Mapping[str, Mapping[str, float]], metric: str, most: int = MOST_BARS) -> list[tuple[str, float]]:
    """Classes by a metric, best first, ties by name; of too many, the best and the worst half of `most`."""
    values = [(name, scores[metric]) for name, scores in per_class.items() if metric in scores]
    values.sort(key=lambda pair: (-pair[1], pair[0]))
    return values if len(values) <= most else values[: most - most // 2] + values[len(values) - most // 2 :]


def per_class_bars(
    per_class: Mapping[str, Mapping[str, float]],
    metric: str,
    path: str | Path,
    title: str | None = None,
    unit: str = "class",
) -> Path:
    """Draw a metric of every class as sorted bars in per cent, with the number of positives and the macro average.

    Args:
        per_class: As a task's `score_per_class` gives it.
        metric: One of its values, e.g. `roc_auc`.
        path: Of the PNG file.
        title: Above the metric, e.g. the task and what made the predictions.
        unit: What a bar is about.

    Raises:
        UserError: No class has the metric.
    """
    path = Path(path)
    bars = ranked(per_class, metric)
    if not bars:
        raise UserError(f"{path.name}: none of {len(per_class)} classes has {metric!r}")
    values = np.array([value for _, value in bars])
    everything = [scores[metric] for scores in per_class.values() if metric in scores]
    cut = len(bars) < len(everything)
    rows = np.arange(len(bars)) + (np.arange(len(bars)) >= MOST_BARS - MOST_BARS // 2) * cut
    shown = f", best {MOST_BARS - MOST_BARS // 2} and worst {MOST_BARS // 2} of {len(everything)}" if cut else ""
    start, end = min(0.0, 100 * values.min()), max(100.0, 100 * values.max())
    with picture(path, 9, 2 + 0.3 * len(bars)) as (axis,):
        axis.barh(rows, 100 * values, color=COLOURS[0], height=0.75)
        axis.set_yticks(rows, short_names([name for name, _ in bars]))
        for row, (name, value) in zip(rows, bars, strict=True):
            count = per_class[name].get("n_positive")
            text = f"{100 * value:.1f}" + ("" if count is None else f"   n={count:.0f}")
            axis.text(end + 0.02 * (end - start), row, text, va="center", fontsize=11, color=MUTED)
        average = 100 * float(np.mean(everything))
        axis.axvline(
            average, color=COLOURS[1], label=f"mean of {'classes' if unit == 'class' else f'{unit}s'} {average:.1f}"
        )
        if metric in CHANCE:
            axis.axvline(100 * CHANCE[metric], color="black", linestyle=":", label="chance")
        axis.set_xlabel(f"{metric}, per cent")
        _bar_axes(axis, start, end, end, 0.17, rows[-1])
        axis.set_title("\n".join(line for line in (title, f"{metric} by {unit}{shown}") if line))
        axis.figure.legend(loc="outside lower right", ncols=2)
    return path


def _bar_axes(axis: Any, start: float, end: float, text: float, room: float, last_row: int) -> None:
    """Rows from the top, values from `start` to `end`, and room for text from `text` on: a share of the whole width."""
    axis.set_xlim(start, end)
    axis.set_xticks([tick for tick in axis.get_xticks() if start <= tick <= end])
    axis.set_xlim(start - 0.02 * (end - start) * (start < 0), max(end, start + (text - start) / (1 - room)))
    left, right = axis.get_xlim()
    axis.xaxis.label.set_x(((start + end) / 2 - left) / (right - left))  # below the middle of the values
    axis.set_ylim(last_row + 0.6, -0.6)
    axis.spines.bottom.set_bounds(start, end)
    axis.grid(axis="y", visible=False)


def confusion_matrix(matrix: np.ndarray, classes: Sequence[str], path: str | Path, title: str | None = None) -> Path:
    """Draw counts by reference (row) and prediction (column), shaded by the share of the row.

    Args:
        matrix: Counts `[classes, classes]`.
        classes: Names of rows and columns.
        path: Of the PNG file.
        title: Above how many are right, e.g. the task and what made the predictions.

    Raises:
        UserError: The shape is another, or there is no item.
    """
    path, matrix = Path(path), np.asarray(matrix)
    n = len(classes)
    if matrix.shape != (n, n) or not matrix.sum():
        raise UserError(f"{path.name}: counts of shape {list(matrix.shape)} and sum {matrix.sum()}, {n} classes")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = f"{np.trace(matrix):.0f} of {matrix.sum():.0f} right"
    side = np.clip(0.6 * n, 3.5, 11)
    with picture(path, side + 3.2, side + 1.8) as (axis,):
        image = axis.imshow(shares, cmap=COLOUR_MAP, vmin=0, vmax=1)
        axis.figure.colorbar(image, ax=axis, label="share of the row", shrink=0.8)
        letters = np.clip(0.7 * 72 * side / n, 4, 13)
        names = short_names(classes)
        axis.set_xticks(range(n), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=letters)
        axis.set_yticks(range(n), names, fontsize=letters)
        if n <= MOST_NUMBERED:
            for row, column in np.argwhere(matrix):
                colour = "black" if shares[row, column] > 0.55 else "white"
                axis.text(column, row, f"{matrix[row, column]:.0f}", ha="center", va="center", color=colour)
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        axis.set_xlabel("prediction")
        axis.set_ylabel("reference")
        lines = textwrap.wrap(title or "", int(9 * (side + 1.8)))  # letters that fit above it
        axis.set_title("\n".join([*lines, right]))
    return path


def clock(seconds: float, _: int | None = None) -> str:
    """`3:05`: minutes and seconds."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def time_axis(axis: Any) -> None:
    """Name times of the x axis, as it is now limited, at the whole seconds or minutes that a clock has marks for."""
    low, high = axis.get_xlim()
    if high - low < TIME_STEPS[0]:
        low, high = axis.set_xlim(np.floor(low), np.ceil(high))
    step = next((step for step in TIME_STEPS if high - low <= MOST_TIMES * step), TIME_STEPS[-1])
    axis.set_xticks(np.arange(-(-low // step) * step, high + 1e-9, step))
    axis.xaxis.set_major_formatter(clock)
    axis.set_xlabel("time (minutes:seconds)")


def tag_curves(
    times: Sequence[float],
    probabilities: np.ndarray,
    classes: Sequence[str],
    path: str | Path,
    top: int = 6,
    title: str | None = None,
    unit: str = "probability",
) -> Path:
    """Draw how the most probable tags of a track come and go, or values.

    Args:
        times: Middle of every window, seconds, `[windows]`.
        probabilities: `[windows, classes]`.
        classes: Names of the columns.
        path: Of the PNG file.
        top: How many tags, by their mean over the track.
        title: Above it, e.g. the track's name.
        unit: What is drawn; anything but probabilities may have any size.

    Raises:
        UserError: The shapes do not fit, or there is no window.
    """
    path, values = Path(path), np.asarray(probabilities, dtype=float)
    if values.shape != (len(times), len(classes)) or not values.size:
        raise UserError(
            f"{path.name}: probabilities of shape {list(values.shape)} for {len(times)} windows, {len(classes)} classes"
        )
    means = values.mean(axis=0)
    chosen = np.argsort(-means, kind="stable")[: min(top, len(COLOURS))]
    with picture(path, 10, 4.8) as (axis,):
        for rank, column in enumerate(chosen):
            label = f"{short_name(classes[column])} ({means[column]:.2f})"
            marker = MARKERS[rank] if len(times) <= MARKERS_UP_TO else None
            axis.plot(times, values[:, column], label=label, color=COLOURS[rank], marker=marker)
        if unit == "probability":
            axis.set_ylim(0, 1)
        time_axis(axis)
        axis.set_ylabel(unit)
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), title="tag (mean)" if unit == "probability" else "mean")
        axis.set_title(short_name(title) if title else "tags over time")
    return path


def comparison_bars(
    rows: Mapping[str, tuple[float, float, float]],
    metric: str,
    path: str | Path,
    title: str | None = None,
    over: str = "tracks",
) -> Path:
    """Draw the scores of several systems on the same items, with their intervals, in per cent.

    Args:
        rows: System -> (value, low, high), shares of 1, drawn from the top in this order.
        metric: What the values are.
        path: Of the PNG file.
        title: Above it, e.g. the task and the number of tracks.
        over: What the interval is over, e.g. "tracks and 3 seeds".

    Raises:
        UserError: No rows, or values that are not finite and in order.
    """
    path = Path(path)
    for name, (value, low, high) in rows.items():
        if not low <= high or not np.isfinite([value, low, high]).all():
            raise UserError(f"{path.name}: {name}: value {value}, interval {low} to {high}")
    if not rows:
        raise UserError(f"{path.name}: no rows to compare")
    values, lows, highs = 100 * np.array(list(rows.values()), dtype=float).T
    start, end = min(0.0, values.min(), lows.min()), max(100.0, highs.max())
    places = np.maximum.reduce([np.zeros(len(rows)), values, highs]) + 0.015 * (end - start)
    with picture(path, 10, 1.8 + 0.55 * len(rows)) as (axis,):
        axis.barh(range(len(rows)), values, color=COLOURS[4], height=0.6)
        axis.hlines(range(len(rows)), lows, highs, color="black", linewidth=2)
        for row, (place, found) in enumerate(zip(places, rows.values(), strict=True)):
            axis.text(place, row, with_ends(*found), va="center", fontsize=12)
        names = short_names(list(rows), 2 * LONGEST_NAME)
        axis.set_yticks(range(len(rows)), [textwrap.fill(name, LONGEST_NAME + 2) for name in names])
        if metric in CHANCE:
            axis.axvline(100 * CHANCE[metric], color="black", linestyle=":")
        axis.set_xlabel(f"{metric}, per cent, with 95 % interval over {over}")
        _bar_axes(axis, start, end, places.max(), 0.25, len(rows) - 1)
        axis.set_title(title or metric)
    return path
