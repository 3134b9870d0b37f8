"""From the windows of a track to the track."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import UserError
from experiments.tasks import build

GENRE = build("genre", classes=["a", "b", "c"])
TAGGING = build("tagging", classes=["a", "b"])
EMOTION = build("emotion", mean=[0, 0], scale=[1, 1])


@given(seed=st.integers(0, 2**31), windows=st.integers(1, 300), outputs=st.sampled_from([1, 2, 5]))
def test_the_mean_is_the_sum_of_the_windows_one_after_another(seed, windows, outputs):
    predictions = np.random.default_rng(seed).random((windows, outputs)).astype(np.float32)
    sums = np.zeros((1, outputs))
    np.add.at(sums, np.zeros(windows, int), predictions)
    joined = GENRE.join(predictions)
    assert joined.dtype == np.float64
    np.testing.assert_array_equal(joined, sums[0] / windows)


def test_other_ways_to_join():
    predictions = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.0, 0.0, 1.0], [0.6, 0.4, 0.0]])
    assert GENRE.join(predictions, how="vote").tolist() == [0.75, 0, 0.25]
    assert GENRE.join(predictions, how="max").tolist() == [0.6, 0.4, 1.0]
    assert TAGGING.join(predictions[:, :2], how="max").tolist() == [0.6, 0.4]


def test_the_median_is_what_some_window_gave():
    tempo = build("tempo_regression", mean=[7], scale=[1])
    windows = np.array([[60.0], [121.0], [120.0], [119.0]], np.float32)
    assert tempo.join(windows[:3]).tolist() == [120]
    assert tempo.join(windows).tolist() == [119]
    assert tempo.join(windows[:2]).tolist() == [60]
    assert tempo.join(windows[:2], how="mean").tolist() == [90.5]
    assert EMOTION.join(np.array([[1.0, 9.0], [2.0, 2.0], [9.0, 1.0]]), how="median").tolist() == [2, 2]


def test_the_mean_of_logits_is_decoded():
    logits = np.array([[2.0, 0.0, -1.0], [4.0, -2.0, 0.0]], np.float32)
    for task, columns in ((GENRE, 3), (TAGGING, 2)):
        given = logits[:, :columns]
        joined = task.join_outputs(given, task.decode(given), how="mean_logits")
        np.testing.assert_allclose(joined, task.decode(given.mean(0)[None])[0], rtol=1e-6)
        usual = task.join_outputs(given, task.decode(given))
        np.testing.assert_array_equal(usual, task.join(task.decode(given)))
    with pytest.raises(UserError, match="mean_logits joins logits, not predictions"):
        GENRE.join(np.ones((2, 3)), how="mean_logits")
    with pytest.raises(UserError, match=r"emotion: windows cannot be joined by mean_logits\. Valid: mean"):
        EMOTION.join_outputs(np.ones((2, 2)), np.ones((2, 2)), how="mean_logits")


@pytest.mark.parametrize(("task", "how"), [(TAGGING, "vote"), (EMOTION, "max"), (EMOTION, "vote"), (GENRE, "median")])
def test_a_way_that_makes_no_sense_is_refused(task, how):
    with pytest.raises(UserError, match=rf"{task.name}: windows cannot be joined by {how}\. Valid: mean"):
        task.join(np.ones((2, 2)), how=how)


def test_an_unknown_way_is_named():
    with pytest.raises(
        UserError, match=r"unknown way to join windows 'meen'; did you mean 'mean'\? Valid: mean, median"
    ):
        GENRE.join(np.ones((1, 3)), how="meen")
