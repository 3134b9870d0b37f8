"""The picture of a tagged track: when its most probable tags are heard, and which of them are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.reports import COLOUR_MAP, COLOURS, MUTED, picture, short_name, short_names, time_axis
from models.prediction import Prediction

MOST_TAGS = 50  # rows of a picture
LEAST_PROBABLE = 0.05  # of the track, or in a window; such tags have no row, beyond the first few
FEWEST_TAGS = 8
ROW = 0.27  # inches
DEEPEST = 0.5  # probability that at least has a colour of its own


def tag_map(prediction: Prediction, path: Path, title: str) -> Path:
    """Draw the probability of tags (rows, the most probable first) over time, and beside it that of the whole track.

    Bars show the track's probabilities, ticks the thresholds; tags that are given are black and blue, others grey.

    Args:
        prediction: Of kind `tags`; `labels` as they are to be shown.
        path: Of the PNG file.
        title: Above it, e.g. the track's name.
    """
    order = _rows(prediction)
    names = short_names([prediction.labels[number] for number in order], 22)
    given = [prediction.labels[number] in prediction.selected for number in order]
    height = 2.2 + ROW * max(len(order), FEWEST_TAGS)
    with picture(path, 11.5, height, 1, 2, width_ratios=[5, 1.35], sharey=True) as (over_time, whole):
        _draw_over_time(over_time, prediction, order)
        _draw_whole(whole, prediction, order, given)
        over_time.set_yticks(range(len(order)), names, fontsize=12)
        for label, chosen in zip(over_time.get_yticklabels(), given, strict=True):
            label.set(color="black" if chosen else MUTED, fontweight="bold" if chosen else "normal")
        over_time.set_ylim(len(order) - 0.5, -0.5)
        over_time.set_title(short_name(title, 70))
    return path


def _rows(prediction: Prediction) -> list[int]:
    """Numbers of the tags that are drawn, the most probable first."""
    order = np.argsort(-prediction.whole, kind="stable")[:MOST_TAGS]
    heard = np.maximum(prediction.whole, prediction.over_time.max(axis=0)) >= LEAST_PROBABLE
    return [int(number) for rank, number in enumerate(order) if heard[number] or rank < FEWEST_TAGS]


def _edges(prediction: Prediction) -> np.ndarray:
    """Where the columns of the map begin and end, seconds: half way between the middles of neighbouring windows."""
    middles = prediction.times + prediction.window / 2
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([prediction.times[:1], between, prediction.times[-1:] + prediction.window])


def _draw_over_time(axis: Any, prediction: Prediction, order: list[int]) -> None:
    values = prediction.over_time[:, order].T
    top = max(DEEPEST, float(np.ceil(10 * values.max()) / 10))
    rows = np.arange(len(order) + 1) - 0.5
    image = axis.pcolormesh(_edges(prediction), rows, values, cmap=COLOUR_MAP, vmin=0, vmax=top, rasterized=True)
    axis.hlines(rows[1:-1], *_edges(prediction)[[0, -1]], color="white", linewidth=0.7)
    bar = axis.figure.colorbar(image, ax=axis, location="bottom", aspect=30, shrink=0.5, pad=0.02, anchor=(1, 0))
    bar.set_label("probability in a window")
    bar.outline.set_visible(False)
    time_axis(axis)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _draw_whole(axis: Any, prediction: Prediction, order: list[int], given: list[bool]) -> None:
    values, rows = prediction.whole[order], np.arange(len(order))
    axis.barh(rows, values, height=0.7, color=[COLOURS[0] if chosen else "#BDBDBD" for chosen in given])
    thresholds = prediction.thresholds
    if thresholds:
        ticks = [thresholds[prediction.labels[number]] for number in order]
        axis.vlines(ticks, rows - 0.42, rows + 0.42, color=COLOURS[1], linewidth=2, label="threshold")
        below = 0.75 / (ROW * max(len(order), FEWEST_TAGS))  # inches under the axis, as a share of it
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -below))
    axis.set_xlim(0, max(DEEPEST, 1.05 * float(values.max()), *(ticks if thresholds else ())))
    axis.set_title("whole track")
    axis.set_xlabel("probability")
    axis.grid(axis="y", visible=False)
    axis.spines.left.set_visible(False)
    axis.tick_params(axis="y", length=0, labelleft=False)
