"""Pictures: what is on them, that odd values do not break them, that they are legible files."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from experiments import reports
from experiments.errors import UserError

PER_CLASS = {
    "piano": {"roc_auc": 0.9, "ap": 0.4, "n_positive": 12.0},
    "a $name_ 50% \\long$ enough to be cut somewhere": {"roc_auc": 0.4, "ap": 0.1, "n_positive": 3.0},
    "bass": {"roc_auc": 0.9, "ap": 0.7},
}


def share(path, colour: str) -> float:
    """The share of pixels of a colour."""
    pixels = imread(path)[:, :, :3]
    return float(np.mean(np.abs(pixels - to_rgb(colour)).max(axis=2) < 0.01))


def check_picture(path, name: str) -> None:
    """A PNG of a size that a preview shows without shrinking letters away, with nothing beside it."""
    height, width = imread(path).shape[:2]
    assert path.name == name
    assert [file.name for file in path.parent.iterdir()] == [name]
    assert 500 <= width <= 1500
    assert 200 <= height <= 1500


def test_classes_are_ranked_with_ties_by_name():
    assert [name for name, _ in reports.ranked(PER_CLASS, "roc_auc")][:2] == ["bass", "piano"]
    many = {f"{n:03d}": {"ap": n / 100} for n in range(100)}
    assert [name for name, _ in reports.ranked(many, "ap", most=5)] == ["099", "098", "097", "001", "000"]
    assert reports.ranked({"a": {"f1": 1.0}}, "ap") == []


@pytest.mark.parametrize("metric", ["roc_auc", "ap"])
def test_per_class_bars(tmp_path, metric):
    path = reports.per_class_bars(PER_CLASS, metric, tmp_path / "per_class_test.png")
    check_picture(path, "per_class_test.png")
    assert share(path, reports.COLOURS[0]) > 0.05


def test_per_class_bars_of_hundreds_of_classes_stay_a_page(tmp_path):
    many = {f"genre---{n:03d}": {"ap": n / 400} for n in range(400)}
    check_picture(reports.per_class_bars(many, "ap", tmp_path / "per_class.png"), "per_class.png")


def test_better_classes_have_longer_bars(tmp_path):
    pages = [reports.per_class_bars({"a": {"f1": f1}}, "f1", tmp_path / f"{f1}.png") for f1 in (0.2, 0.8)]
    bars = [share(page, reports.COLOURS[0]) for page in pages]
    assert bars[1] == pytest.approx(4 * bars[0], rel=0.1)


def test_bars_of_a_metric_that_no_class_has_are_an_error(tmp_path):
    with pytest.raises(UserError, match="none of 3 classes has 'f1'"):
        reports.per_class_bars(PER_CLASS, "f1", tmp_path / "x.png")


@pytest.mark.parametrize("n", [2, 10, 60])
def test_confusion_matrix(tmp_path, n):
    counts = np.eye(n, dtype=int) * 5
    path = reports.confusion_matrix(counts, [f"class {k}" for k in range(n)], tmp_path / "confusion_test.png")
    check_picture(path, "confusion_test.png")


def test_a_class_without_items_leaves_its_row_empty(tmp_path):
    path = reports.confusion_matrix(np.array([[2, 1], [0, 0]]), ["a", "b"], tmp_path / "c.png")
    check_picture(path, "c.png")


@pytest.mark.parametrize("counts", [np.zeros((2, 2)), np.ones((2, 3))])
def test_a_confusion_matrix_of_nothing_or_of_another_shape_is_an_error(tmp_path, counts):
    with pytest.raises(UserError, match="2 classes"):
        reports.confusion_matrix(counts, ["a", "b"], tmp_path / "c.png")


@pytest.mark.parametrize(("windows", "classes"), [(1, 1), (8, 3), (200, 400)])
def test_tag_curves(tmp_path, windows, classes):
    probabilities = np.random.default_rng(0).random((windows, classes))
    times = 15.0 + 30 * np.arange(windows)
    names = [f"tag {k}" for k in range(classes)]
    path = reports.tag_curves(times, probabilities, names, tmp_path / "tags.png", title="a song.mp3")
    check_picture(path, "tags.png")


def test_only_the_most_probable_tags_are_drawn(tmp_path):
    probabilities = np.tile([0.1, 0.9, 0.5], (10, 1))
    path = reports.tag_curves(np.arange(10), probabilities, ["a", "b", "c"], tmp_path / "tags.png", top=2)
    assert share(path, reports.COLOURS[1]) > 0
    assert share(path, reports.COLOURS[2]) == 0


def test_tag_curves_of_another_shape_are_an_error(tmp_path):
    with pytest.raises(UserError, match=r"shape \[3, 2\] for 4 windows, 2 classes"):
        reports.tag_curves(range(4), np.zeros((3, 2)), ["a", "b"], tmp_path / "tags.png")


@pytest.mark.parametrize(
    ("limits", "marks"),
    [
        ((5.2, 5.7), ["0:05", "0:06"]),
        ((7.6, 15.2), ["0:08", "0:09", "0:10", "0:11", "0:12", "0:13", "0:14", "0:15"]),
        ((0, 290), ["0:00", "0:30", "1:00", "1:30", "2:00", "2:30", "3:00", "3:30", "4:00", "4:30"]),
        ((0, 7200), ["0:00", "20:00", "40:00", "60:00", "80:00", "100:00", "120:00"]),
    ],
)
def test_times_are_named_at_whole_steps(tmp_path, limits, marks):
    with reports.picture(tmp_path / "t.png", 6, 3) as (axis,):
        axis.set_xlim(*limits)
        reports.time_axis(axis)
        axis.figure.canvas.draw()
        assert [label.get_text() for label in axis.get_xticklabels()] == marks


def test_comparison_bars(tmp_path):
    rows = {"ours": (0.8, 0.7, 0.9), "mean and deviation of mel": (0.6, 0.5, 1.0), "constant": (0.5, 0.5, 0.5)}
    path = reports.comparison_bars(rows, "roc_auc", tmp_path / "table.png", title="tagging, 96 test tracks")
    check_picture(path, "table.png")
    assert share(path, reports.COLOURS[4]) > 0.05


def test_rows_whose_long_names_end_differently_stay_apart(tmp_path, axes):
    names = [
        f"embeddings, sum of blocks, {tokens}{', mean+std of patches' * 3}, k" for tokens in ("cls", "mean", "all")
    ]
    rows = dict.fromkeys([*names, "embeddings, sum of blocks, cls"], (0.1, 0.0, 0.2))
    reports.comparison_bars(rows, "accuracy", tmp_path / "table.png")
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert len(set(labels)) == len(rows)
    assert labels[-1] == "embeddings, sum of blocks,\ncls"
    assert reports.short_names(["a" * 40 + "x", "a" * 40 + "y"]) == [f"{'a' * 12}…{'a' * 12}{end}" for end in "xy"]
    alike = [f"{'a' * 20}{number}{'b' * 20}" for number in range(2)]
    assert reports.short_names(alike) == alike


def test_words_beside_bars_lie_on_nothing_where_values_are_negative(tmp_path, axes):
    rows = {"a": (-0.024, -8.568, 0.634), "b": (-0.07, -1.418, -0.005), "c": (-2.0, -2.5, -1.5)}
    reports.comparison_bars(rows, "r2", tmp_path / "table.png")
    (axis,) = axes
    left = axis.get_xlim()[0]
    for text, (value, low, high) in zip(axis.texts, rows.values(), strict=True):
        assert text.get_position()[0] > 100 * max(value, high, 0) + 5
        assert left < 100 * low - 5
        assert text.get_text() == f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    assert "per cent" in axis.get_xlabel()


def test_pictures_of_classes_name_what_predicted(tmp_path, axes):
    reports.per_class_bars(PER_CLASS, "ap", tmp_path / "p.png", "tagging: embeddings, block 0")
    reports.confusion_matrix(np.eye(2), ["a", "b"], tmp_path / "c.png", "key: embeddings, seed 1")
    reports.per_class_bars(PER_CLASS, "ap", tmp_path / "t.png", "tempo", unit="range")
    titles = [axis.get_title(loc="left") for axis in axes]
    assert titles == [
        "tagging: embeddings, block 0\nap by class",
        "key: embeddings, seed 1\n2 of 2 right",
        "tempo\nap by range",
    ]
    assert axes[-1].figure.legends[0].get_texts()[0].get_text().startswith("mean of ranges ")


@pytest.mark.parametrize("rows", [{}, {"ours": (0.8, 0.9, 0.7)}, {"ours": (float("nan"), 0.1, 0.2)}])
def test_comparisons_that_cannot_be_drawn_are_an_error(tmp_path, rows):
    with pytest.raises(UserError, match=r"table\.png: "):
        reports.comparison_bars(rows, "ap", tmp_path / "table.png")


def test_the_style_of_others_is_left_alone(tmp_path):
    before = dict(mpl.rcParams)
    reports.per_class_bars(PER_CLASS, "ap", tmp_path / "bars.png")
    assert dict(mpl.rcParams) == before


def test_neither_matplotlib_nor_a_window_is_needed_before_drawing(tmp_path):
    code = (
        "import sys, experiments.reports as r; print('matplotlib' in sys.modules);"
        "r.comparison_bars({'a': (0.5, 0, 1)}, 'ap', sys.argv[1]); print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "bars.png")]
    assert subprocess.run(command, capture_output=True, text=True).stdout.split() == ["False", "False"]


def test_colours_stay_apart_without_red_or_green_cones():
    """Linear-light simulation of Viénot, Brettel and Mollon (1999), protanopia and deuteranopia."""
    colours = np.array([to_rgb(colour) for colour in reports.COLOURS]) ** 2.2
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    lose = {
        "protan": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
        "deutan": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
    }
    for matrix in lose.values():
        seen = np.clip(colours @ (np.linalg.inv(to_lms) @ matrix @ to_lms).T, 0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=2) + np.eye(len(seen))
        assert apart.min() > 0.1
