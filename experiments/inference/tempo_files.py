"""Predictions of tempo: besides what is left of all predictions, a tempo in every entry, and a table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.csv_writing import write_records
from experiments.inference.ranked import Ranked
from experiments.messages import say
from experiments.reports import COLOURS, MUTED, picture, short_name, time_axis
from experiments.tasks.tempo import SLOWEST
from experiments.tempo.summary import spoken, tempo_summary
from models.prediction import Prediction

KEY = "tempo"  # of an entry: what `tempo_summary` says
TABLE = "tempo.csv"
JUMP = 0.5  # octaves between windows, above which no line joins their tempi
COLUMNS = ("audio", "tempo", "second_tempo", "salience", "confidence")


class TempoFiles(Ranked):
    """Keeps what `Ranked` keeps, with tempi in `predictions.json`, and `tempo.csv`, a row a song."""

    def known(self, prediction: Prediction) -> dict[str, Any]:
        """Tempi of the song and of its windows."""
        return {KEY: tempo_summary(self.predictor.task, prediction, *self.predictor.tempi)}

    def show(self, summary: Mapping[str, Any]) -> None:
        """Print the tempo; of one that an earlier version predicted, its class."""
        if KEY not in summary:
            super().show(summary)
            return
        found = summary[KEY]
        sure = "" if found["confidence"] is None else f", confidence {found['confidence']:.2f}"
        print(f"  {spoken(found)} (or {found['second_tempo']:.2f}{sure})")

    def leave(self, new: Sequence[str]) -> None:
        """Print tempi, and leave the table of them and all other files with the run."""
        super().leave(new)
        table = self.folder / TABLE
        rows = ({"audio": one["audio"], **one.get(KEY, {})} for one in self.summaries())
        write_records(table, COLUMNS, ({name: row.get(name) for name in COLUMNS} for row in rows))
        self.run.add_artifact(table)
        say(f"tempi: {table}; over time: {self.folder / 'predictions.json'}")

    def draw(self, audio: str, prediction: Prediction) -> None:
        """Draw how probable tempi are, and the tempo of every window."""
        found, path = self.known(prediction)[KEY], self.picture_of(audio)
        with picture(path, 12, 4.8, 1, 2, width_ratios=[2, 3]) as (whole, over_time):
            _draw_whole(whole, prediction, found)
            _draw_over_time(over_time, prediction, found)
            whole.figure.suptitle(short_name(Path(audio).name, 70), x=0.01, ha="left", fontsize="large")
        self.run.add_artifact(path)


def _draw_whole(axis: Any, prediction: Prediction, found: Mapping[str, Any]) -> None:
    if prediction.kind == "class":
        axis.plot(SLOWEST + np.arange(len(prediction.whole)), prediction.whole, color=COLOURS[0])
        axis.set_ylabel("probability")
        axis.set_ylim(bottom=0)
    axis.axvline(found["tempo"], color=COLOURS[1], label=f"{found['tempo']:.2f} BPM")
    axis.axvline(found["second_tempo"], color=MUTED, linestyle=":", label=f"or {found['second_tempo']:.2f} BPM")
    axis.set_xlabel("tempo (BPM)")
    _legend_above(axis)


def _draw_over_time(axis: Any, prediction: Prediction, found: Mapping[str, Any]) -> None:
    middles = prediction.times + prediction.window / 2
    tempi = np.array([one["tempo"] for one in found["over_time"]])
    axis.plot(*without_jumps(middles, tempi), "o-", color=COLOURS[1], label="of each window")
    axis.axhline(found["tempo"], color=MUTED, linestyle=":", label="of the whole")
    time_axis(axis)
    axis.set_ylabel("tempo (BPM)")
    _legend_above(axis)


def without_jumps(times: np.ndarray, tempi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve with a gap (NaN) wherever the tempo moves by more than half an octave from one point to the next."""
    jumps = 1 + np.flatnonzero(np.abs(np.diff(np.log2(tempi))) > JUMP)
    return np.insert(np.asarray(times, np.float64), jumps, np.nan), np.insert(tempi, jumps, np.nan)


def _legend_above(axis: Any) -> None:
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
