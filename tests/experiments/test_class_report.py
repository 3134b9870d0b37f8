"""Reports by class."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from experiments.class_report import per_class_table, write_test_report
from experiments.tasks import build


class Folder:
    """A run that only has a folder."""

    def __init__(self, directory):
        self.directory, self.kept = directory, []

    def add_artifact(self, path):
        self.kept.append(path.name)


def report(task, predictions, references, train, folder):
    run = Folder(folder)
    write_test_report(task, predictions, references, run, train)
    assert {"per_class_test.csv", "per_class_test.png"} <= set(run.kept)
    with (folder / "per_class_test.csv").open() as handle:
        return {row["class"]: row.get("n_train") for row in csv.DictReader(handle)}


def test_classes_without_a_training_track_are_marked(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "experiments.reports.per_class_bars",
        lambda rows, metric, path, title, unit: drawn.extend([title, unit, *rows]) or path,
    )
    task, y = build("genre", classes=["x", "y", "z"]), np.array([0, 1, 2])
    found = report(task, np.eye(3, dtype=np.float32), y, np.array([0, 2, 2]), tmp_path)
    assert found == {"x": "1", "y": "0", "z": "2"}
    assert drawn == ["genre", "class", "x", "y (not in train)", "z"]


def test_ranges_of_tempi_are_counted_and_values_are_not(tmp_path):
    tempo = build("tempo_regression", mean=[7.0], scale=[1.0])
    said, y = np.array([[90.0], [130.0]], np.float32), np.array([90.0, 130.0], np.float32)
    assert tempo.unit == "range"
    assert report(tempo, said, y, np.array([91.0, 95.0]), tmp_path) == {"80-100 BPM": "2", "120-140 BPM": "0"}
    emotion = build("emotion", mean=[0.0, 0.0], scale=[1.0, 1.0])
    pairs = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    assert report(emotion, pairs, pairs, pairs, tmp_path) == {"arousal": None, "valence": None}


@pytest.mark.parametrize("name", ["genre", "tagging"])
def test_without_training_targets_nothing_is_said_of_them(name, tmp_path):
    y = np.array([0, 1]) if name == "genre" else np.eye(2, dtype=np.float32)
    assert report(build(name, classes=["x", "y"]), np.eye(2, dtype=np.float32), y, None, tmp_path) == dict.fromkeys(
        "xy"
    )


def test_tags_with_intervals_and_those_that_cannot_be_scored(tmp_path):
    task = build("tagging", classes=["a", "b", "never"])
    references = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], np.float32)
    predictions = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
    ends = {"a": {"roc_auc": (0.1, 0.9), "ap": (0.2, 0.8)}}
    write_test_report(task, predictions, references, Folder(tmp_path), references, ends=ends)
    with (tmp_path / "per_class_test.csv").open() as handle:
        rows = {row["class"]: row for row in csv.DictReader(handle)}
    assert [rows["a"][name] for name in ("roc_auc_low", "ap_high", "n_positive", "n_train")] == [
        "0.1",
        "0.8",
        "2.0",
        "2",
    ]
    assert (rows["b"]["roc_auc_low"], rows["never"]["roc_auc"], rows["never"]["n_positive"]) == ("", "", "0")
    assert rows["never"]["n_train"] == "0"
    lines = per_class_table(task, predictions, references, ends).splitlines()
    assert [line.split()[:2] for line in lines] == [["tag", "n"], ["a", "2"], ["b", "2"], ["never", "0"]]
    assert "(10.0-90.0)" in lines[1]
    assert "(20.0-80.0)" in lines[1]
