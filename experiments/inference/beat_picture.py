"""The picture of a song's beats: what the network saw, what was found in it, and the tempo over time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from experiments.reports import COLOURS, MUTED, picture, short_name, time_axis
from models.prediction import Prediction
from models.rhythm.tempo_curve import tempo_curve

MOST_POINTS = 4000  # of a curve; of longer ones the largest value of each stretch is drawn
ROW_SECONDS, MOST_ROWS = 30, 12  # of a song; where these rows do not suffice, each holds more seconds
STILL_ONE_ROW = 45  # seconds
ROW_HEIGHT, TEMPO_HEIGHT = 1.35, 2.4  # inches


def beat_picture(prediction: Prediction, path: Path, title: str) -> Path:
    """Draw activations with the beats that were found above them, half a minute a row, and below these the tempo of
    each interval and its course over the whole song.

    Args:
        prediction: Of kind `events`.
        path: Of the PNG file.
        title: Above it, e.g. the name of the song.
    """
    duration = float(max([*prediction.times[-1:] + prediction.window, *prediction.events.times[-1:], 1.0]))
    starts, seconds = rows_of(duration)
    heights = [ROW_HEIGHT if len(starts) > 1 else 2 * TEMPO_HEIGHT] * len(starts) + [TEMPO_HEIGHT]
    with picture(path, 14, sum(heights) + 0.8, len(heights), 1, height_ratios=heights) as (*rows, tempi):
        for row, start in zip(rows, starts, strict=True):
            _draw_activations(row, prediction, start, start + seconds)
        rows[0].legend(loc="upper left", bbox_to_anchor=(1, 1))
        rows[0].set_title(short_name(title, 70))
        _draw_tempo(tempi, prediction.events.times)
        tempi.set_xlim(0, duration)
        for axis in (*rows, tempi):
            time_axis(axis)
        for row in rows:
            row.set_xlabel("")
    return path


def rows_of(duration: float) -> tuple[np.ndarray, float]:
    """Where the rows of a song of so many seconds start, and how many seconds each holds."""
    if duration <= STILL_ONE_ROW:
        return np.zeros(1), duration
    seconds = ROW_SECONDS * math.ceil(duration / MOST_ROWS / ROW_SECONDS)
    return np.arange(0, duration, seconds, dtype=np.float64), float(seconds)


def _draw_activations(axis: Any, prediction: Prediction, start: float, end: float) -> None:
    """Those from one time to another, seconds, and above them short ticks of beats and longer ones of downbeats."""
    width = max(0.3, min(1.0, 2 * ROW_SECONDS / (end - start)))
    inside = (prediction.times >= start) & (prediction.times < end)
    for column, label in enumerate(("any beat", "downbeat")[: prediction.over_time.shape[1]]):
        x, y = thinned(prediction.times[inside], prediction.over_time[inside, column])
        axis.plot(x, y, color=COLOURS[column], linewidth=width, label=label)
    found = prediction.events
    of_row, downbeat = (found.times >= start) & (found.times < end), found.positions == 1
    beats, downbeats = found.times[of_row & ~downbeat], found.times[of_row & downbeat]
    axis.vlines(beats, 1.08, 1.3, color=COLOURS[0], linewidth=1.5 * width, label="beats found")
    axis.vlines(downbeats, 1.08, 1.55, color=COLOURS[1], linewidth=2.5 * width, label="downbeats found")
    axis.set_xlim(start, end)
    axis.set_ylim(0, 1.6)
    axis.set_yticks([0, 0.5, 1])
    axis.set_ylabel("activation")


def _draw_tempo(axis: Any, beats: np.ndarray) -> None:
    axis.set_ylabel("tempo (BPM)")
    if len(beats) < 2:
        axis.text(0.5, 0.5, "fewer than two beats were found", ha="center", color=MUTED, transform=axis.transAxes)
        return
    middles, tempi = tempo_curve(beats)
    single = 60 / np.diff(beats)
    low, high = 0.8 * tempi.min(), 1.25 * tempi.max()
    axis.plot(middles, np.clip(single, low, high), ".", color=MUTED, markersize=4, label="from beat to beat")
    axis.plot(middles, tempi, color=COLOURS[2], label="over 8 s")
    axis.set_ylim(low, high)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))


def thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve of at most `MOST_POINTS` points that keeps every peak, though not its place to the step."""
    each = -(-len(values) // MOST_POINTS)
    if each <= 1:
        return times, values
    whole = len(values) // each * each
    return times[:whole:each], values[:whole].reshape(-1, each).max(axis=1)
