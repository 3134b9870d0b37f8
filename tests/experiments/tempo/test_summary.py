"""What a prediction of tempo says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from experiments.errors import UserError
from experiments.tasks import Tempo, TempoRegression
from experiments.tempo.summary import check_duration, no_onsets, spoken, tempo_summary
from models.prediction import Prediction

CLASSES, VALUES = Tempo(), TempoRegression([7.0], [0.5])


def prediction(task: Tempo | TempoRegression, tempi: list[float]) -> Prediction:
    windows = CLASSES.smooth_labels(torch.tensor(tempi)).numpy() if task is CLASSES else np.array(tempi)[:, None]
    times = 6.0 * np.arange(len(tempi))
    return Prediction(task.classes, task.kind, times, 12.0, windows, task.join(windows))


def test_classes():
    summary = tempo_summary(CLASSES, prediction(CLASSES, [127.13, 127.13, 63.5]))
    assert spoken(summary) == "Estimated tempo: 127.13 BPM"
    assert summary["second_tempo"] == pytest.approx(63.5, abs=0.04)
    assert summary["salience"] == pytest.approx(2 / 3, abs=0.04)
    assert summary["confidence"] == pytest.approx(2 / 3, abs=0.01)
    assert [one["tempo"] for one in summary["over_time"]] == [127.13, 127.13, 63.5]
    assert [one["seconds"] for one in summary["over_time"]] == [[0, 12], [6, 18], [12, 24]]
    assert json.loads(json.dumps(summary)) == summary


def test_values():
    summary = tempo_summary(VALUES, prediction(VALUES, [120.0, 118.0, 60.0]))
    assert (summary["tempo"], summary["second_tempo"], summary["salience"]) == (118, 236, None)
    assert summary["confidence"] == pytest.approx(2 / 3, abs=1e-4)
    assert spoken(summary) == "Estimated tempo: 118.00 BPM"


@pytest.mark.parametrize("task", [CLASSES, VALUES], ids=["classes", "values"])
def test_a_range_holds_for_the_windows_too(task):
    summary = tempo_summary(task, prediction(task, [160.0, 160.0, 80.0]), low=60, high=110)
    assert all(60 <= one["tempo"] <= 110 for one in (summary, *summary["over_time"]))
    assert summary["tempo"] == pytest.approx(80, abs=0.01)


def test_silence_has_no_onsets():
    assert no_onsets(np.zeros(100))
    assert no_onsets(np.full((100, 128), -100.0))
    assert no_onsets(np.zeros((0, 3)))
    assert not no_onsets(np.eye(3))
    assert not no_onsets(1e-4 * np.random.default_rng(0).random(100))


def test_short_audio_is_refused_or_warned_of():
    with pytest.raises(UserError, match=r"2\.9 s: too short to tell a tempo; give 3 s or more"):
        check_duration(2.9)
    assert check_duration(3.0) == "3.0 s: a tempo of less than 6 s of audio is doubtful"
    assert check_duration(6.0) is None
