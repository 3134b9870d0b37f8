"""The picture of a song's beats: what the network saw, what was found in it, and the tempo over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.reports import COLOURS, MUTED, clock, picture, short_name
from models.prediction import Prediction
from models.rhythm.tempo_curve import tempo_curve

MOST_POINTS = 4000  # of a curve; of longer ones the largest value of each stretch is drawn


def beat_picture(prediction: Prediction, path: Path, title: str) -> Path:
    """Draw activations with the beats that were found above them, and the tempo of each interval and its course.

    Args:
        prediction: Of kind `events`.
        path: Of the PNG file.
        title: Above it, e.g. the name of the song.
    """
    with picture(path, 14, 6.4, 2, 1, sharex=True, height_ratios=[3, 2]) as (curves, tempi):
        _draw_activations(curves, prediction)
        _draw_tempo(tempi, prediction.events.times)
        curves.set_title(short_name(title, 70))
        tempi.xaxis.set_major_formatter(clock)
        tempi.xaxis.get_major_locator().set_params(steps=[1, 1.5, 3, 6, 10], min_n_ticks=1, integer=True)
        tempi.set_xlabel("time (minutes:seconds)")
    return path


def _draw_activations(axis: Any, prediction: Prediction) -> None:
    events, times = prediction.events, prediction.times
    for column, label in enumerate(("any beat", "downbeat")[: prediction.over_time.shape[1]]):
        x, y = thinned(times, prediction.over_time[:, column])
        axis.plot(x, y, color=COLOURS[column], linewidth=1, label=label)
    downbeats = events.positions == 1
    axis.vlines(events.times[~downbeats], 1.03, 1.09, color=COLOURS[0], linewidth=1.2, label="beats found")
    axis.vlines(events.times[downbeats], 1.03, 1.16, color=COLOURS[1], linewidth=1.8, label="downbeats found")
    axis.set_ylim(0, 1.18)
    axis.set_yticks([0, 0.5, 1])
    axis.set_ylabel("activation")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))


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
