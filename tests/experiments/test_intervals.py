"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from experiments.errors import UserError
from experiments.intervals import difference, interval, resampled
from experiments.tasks import Genre, Tagging


def genre_answers(right: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    references = np.arange(n) % 2
    answers = np.where(np.arange(n) < right, references, 1 - references)
    return np.eye(2, dtype=np.float32)[answers], references


class WithoutShortcut:
    """A task that can only be scored one resample at a time."""

    def __init__(self, task):
        self.score = task.score


def test_the_interval_of_an_accuracy_is_the_binomial_one():
    low, high = interval(Genre(["a", "b"]), *genre_answers(70, 100), n=20_000)["accuracy"]
    assert [low, high] == pytest.approx(binom.ppf([0.025, 0.975], 100, 0.7) / 100, abs=0.01)


def test_it_depends_on_the_seed_alone():
    task, answers = Genre(["a", "b"]), genre_answers(30, 41)
    assert interval(task, *answers, seed=3) == interval(task, *answers, seed=3)
    assert interval(task, *answers, seed=3) != interval(task, *answers, seed=4)


def test_draws_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    task, answers = Genre(["a", "b"]), genre_answers(30, 41)
    whole = resampled(task, *answers, n=50, seed=0)
    monkeypatch.setattr("experiments.intervals.CHUNK", 41 * 7)
    pieces = resampled(task, *answers, n=50, seed=0)
    np.testing.assert_array_equal(whole["accuracy"], pieces["accuracy"])


def test_a_task_without_a_shortcut_gets_the_same_interval():
    rng = np.random.default_rng(0)
    tagging, scores = Tagging(["a", "b"]), rng.random((30, 2)).astype(np.float32)
    references = (rng.random((30, 2)) < 0.5).astype(np.float32)
    slow = interval(WithoutShortcut(tagging), scores, references, n=40)
    fast = interval(tagging, scores, references, n=40)
    assert set(slow) == {"roc_auc", "ap"}
    for name in fast:
        assert slow[name] == pytest.approx(fast[name], abs=1e-12)


def test_a_paired_difference_is_narrower_than_the_scores_apart():
    task = Genre(["a", "b"])
    ours, references = genre_answers(80, 100)
    theirs, _ = genre_answers(70, 100)
    low, high = difference(task, ours, theirs, references)["accuracy"]
    assert 0 < low < 0.1 < high < 0.2
    apart = [interval(task, predictions, references)["accuracy"] for predictions in (ours, theirs)]
    assert apart[0][0] < apart[1][1]


def test_tags_that_only_some_resamples_can_score_are_averaged_where_they_can():
    scores = np.array([[0.9], [0.1], [0.2], [0.3]], np.float32)
    references = np.array([[1], [0], [0], [0]], np.float32)
    assert interval(Tagging(["rare"]), scores, references)["roc_auc"] == (1.0, 1.0)


def test_nothing_to_score_is_an_error():
    with pytest.raises(UserError, match="can be scored"):
        interval(Tagging(["a"]), np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32))
