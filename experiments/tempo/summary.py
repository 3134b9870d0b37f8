"""What a prediction of tempo says, as plain values, and which audio has no tempo to be predicted.

summary = tempo_summary(encoder.task, encoder.predict(audio, rate), low=60, high=180)
print(spoken(summary))      # Estimated tempo: 127.13 BPM
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.errors import UserError
from experiments.tasks.tempo import TempoTask
from models.prediction import Prediction
from models.rhythm.tempo_distribution import TempoEstimate

DIGITS = 2
SHORTEST = 3.0  # seconds: two beats of the slowest tempo, 40 BPM
UNSURE = 6.0  # seconds, below which most of a tempogram's window is padding
STILL = 1e-6  # of the largest value: what changes by less over time does not change
NO_ONSETS = "no onsets found: there is nothing in this audio that a tempo could be told from"


def tempo_summary(
    task: TempoTask, prediction: Prediction, low: float | None = None, high: float | None = None
) -> dict[str, Any]:
    """Tempo, second tempo and how sure they are, of a recording and of each of its windows.

    Args:
        task: What the prediction is of.
        prediction: Of a recording.
        low: No tempo lies below it, BPM; None: as the task has it.
        high: Nor above it.

    Returns:
        `tempo`, `second_tempo` (BPM), `salience` and `confidence` (0..1; None where nothing tells them), and
        `over_time`: the same of every window, with its start and its end in `seconds`.

    Raises:
        UserError: No tempo can lie between `low` and `high`.
    """
    windows = np.asarray(prediction.over_time)
    whole = task.estimate(prediction.whole, windows, low, high)
    over_time = [
        {"seconds": [round(float(start), 3), round(float(start + prediction.window), 3)]} | _plain(one)
        for start, one in zip(prediction.times, (task.estimate(row, None, low, high) for row in windows), strict=True)
    ]
    return {**_plain(whole), "over_time": over_time}


def spoken(summary: dict[str, Any]) -> str:
    """The line for a terminal."""
    return f"Estimated tempo: {summary['tempo']:.2f} BPM"


def no_onsets(rows: np.ndarray) -> bool:
    """Whether nothing happens in a recording: it is the same from its first row to its last.

    Args:
        rows: Features or samples before padding, `[rows, ...]`.
    """
    rows = np.asarray(rows)
    return len(rows) == 0 or float(np.ptp(rows, axis=0).max()) <= STILL * max(float(np.abs(rows).max()), STILL)


def check_duration(seconds: float) -> str | None:
    """What to warn of where a recording is so short that its tempo is doubtful; None where it is not.

    Raises:
        UserError: It is too short for two beats of a slow piece.
    """
    if seconds < SHORTEST:
        raise UserError(f"{seconds:.1f} s: too short to tell a tempo; give {SHORTEST:g} s or more")
    return f"{seconds:.1f} s: a tempo of less than {UNSURE:g} s of audio is doubtful" if seconds < UNSURE else None


def _plain(one: TempoEstimate) -> dict[str, Any]:
    return {
        "tempo": round(one.tempo, DIGITS),
        "second_tempo": round(one.second, DIGITS),
        "salience": None if one.salience is None else round(one.salience, 4),
        "confidence": None if one.confidence is None else round(one.confidence, 4),
    }
