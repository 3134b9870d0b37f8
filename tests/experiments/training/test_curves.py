"""The curves of a training: which panels there are, and that odd values do not break them."""

from __future__ import annotations

import pytest

from experiments.errors import UserError
from experiments.reports import SPLIT_COLOURS
from experiments.tasks.beats import BeatTracking
from experiments.training.curves import panels, training_curves
from tests.experiments.test_reports import check_picture, share

SERIES = {
    "train/loss": [(step, 1 / (step + 1)) for step in range(0, 500, 10)],
    "val/loss": [(0, 1.0), (200, 0.5), (100, 0.7), (300, float("nan"))],
    "val/roc_auc": [(0, 0.5), (100, 0.6)],
    "lr": [(0, float("inf"))],
}
BEATS = ("f1", "beat_f1", "downbeat_f1", "beat_cmlt", "beat_amlt", "beat_cemgil", "downbeat_cmlt", "tempo_jumps")


def test_series_are_sorted_into_panels_by_metric():
    assert panels(SERIES) == {"loss": {"train": "train/loss", "val": "val/loss"}, "roc_auc": {"val": "val/roc_auc"}}


def test_a_task_says_which_metrics_are_drawn_together():
    series = {f"{name}": [(1, 0.5)] for name in ("train/lr", "train/loss", *(f"val/{name}" for name in BEATS))}
    found = panels(series, BeatTracking.panels)
    assert list(found) == ["loss", "F-measure", "continuity of beats", "continuity of downbeats", "lr"]
    assert list(found["F-measure"]) == ["f1", "beat_f1", "downbeat_f1"]
    assert list(found["continuity of beats"]) == ["beat_cmlt", "beat_amlt"]


def test_grouped_scores_are_drawn_from_0_to_1(tmp_path, axes):
    series = {"val/loss": [(1, 7.0)], "val/a": [(1, 0.4), (2, 0.5)], "val/b": [(1, 0.4), (2, 1.5)]}
    training_curves(series, tmp_path / "curves.png", {"shares": ["a"], "numbers": ["b"]})
    limits = {axis.get_title(loc="left"): axis.get_ylim() for axis in axes}
    assert limits["shares"] == (-0.02, 1.02)
    assert limits["numbers"][1] > 1.5


def test_both_splits_are_drawn(tmp_path):
    path = training_curves(SERIES, tmp_path / "curves.png")
    check_picture(path, "curves.png")
    assert share(path, SPLIT_COLOURS["train"]) > 0.001
    assert share(path, SPLIT_COLOURS["val"]) > 0.001


@pytest.mark.parametrize("series", [{"loss": [(3, 0.5)]}, {f"m{n}": [(0, n), (1, 2)] for n in range(5)}])
def test_one_point_and_many_metrics(tmp_path, series):
    check_picture(training_curves(series, tmp_path / "curves.png"), "curves.png")


@pytest.mark.parametrize("series", [{}, {"val/loss": []}, {"val/loss": [(0, float("nan"))]}])
def test_curves_without_a_value_are_an_error(tmp_path, series):
    with pytest.raises(UserError, match=r"curves\.png: none of \d series has a finite value"):
        training_curves(series, tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []
