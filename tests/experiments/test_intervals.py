"""Bootstrap intervals of the metrics of tasks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from datasets.intervals import Difference, SystemScores, differences, limits
from experiments.errors import UserError
from experiments.intervals import interval, interval_per_class, resampled, resampled_together
from experiments.tasks import Emotion, Genre, Key, Tagging, Task, Tempo, TempoRegression


def genre_predictions(right: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    references = np.arange(n) % 2
    predictions = np.where(np.arange(n) < right, references, 1 - references)
    return np.eye(2, dtype=np.float32)[predictions], references


def difference(task, ours, theirs, references, n=1000) -> dict[str, tuple[float, float]]:
    """The central 95 % of `ours - theirs` on the same resamples."""
    one, other = resampled_together(task, [ours, theirs], references, n, seed=0)
    return {name: tuple(np.quantile(one[name] - other[name], [0.025, 0.975])) for name in one}


class WithoutShortcut(Tagging):
    """A task that can only be scored one resample at a time."""

    score_resampled, primary_resampled = Task.score_resampled, Task.primary_resampled


def test_the_interval_of_an_accuracy_is_the_binomial_one():
    low, high = interval(Genre(["a", "b"]), *genre_predictions(70, 100), n=20_000)["accuracy"]
    assert [low, high] == pytest.approx(binom.ppf([0.025, 0.975], 100, 0.7) / 100, abs=0.01)


@pytest.mark.parametrize("n", [1, 10, 290])
def test_where_all_or_none_are_right_the_interval_is_that_of_the_exact_binomial_test(n):
    from scipy.stats import binomtest

    task = Genre(["a", "b"])
    for right in (0, n):
        exact = binomtest(right, n).proportion_ci(0.95, method="exact")
        assert interval(task, *genre_predictions(right, n), n=100)["accuracy"] == pytest.approx(tuple(exact), abs=1e-12)


def test_one_prediction_for_all_items_has_an_exact_roc_auc():
    references = np.array([[0.0], [1.0], [1.0], [0.0]], np.float32)
    assert interval(Tagging(["a"]), np.full((4, 1), 0.3, np.float32), references, n=100)["roc_auc"] == (0.5, 0.5)


def test_it_depends_on_the_seed_alone():
    task, pair = Genre(["a", "b"]), genre_predictions(30, 41)
    assert interval(task, *pair, seed=3) == interval(task, *pair, seed=3)
    assert interval(task, *pair, seed=3) != interval(task, *pair, seed=4)


def test_draws_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    task, pair = Genre(["a", "b"]), genre_predictions(30, 41)
    whole = resampled(task, *pair, n=50, seed=0)
    monkeypatch.setattr("experiments.intervals.CHUNK", 41 * 7)
    pieces = resampled(task, *pair, n=50, seed=0)
    np.testing.assert_array_equal(whole["accuracy"], pieces["accuracy"])


def test_a_task_without_a_shortcut_gets_the_same_interval():
    rng = np.random.default_rng(0)
    tagging, scores = Tagging(["a", "b"]), rng.random((30, 2)).astype(np.float32)
    references = (rng.random((30, 2)) < 0.5).astype(np.float32)
    slow = interval(WithoutShortcut(["a", "b"]), scores, references, n=40)
    fast = interval(tagging, scores, references, n=40)
    assert set(slow) == {"roc_auc", "ap"}
    for name in fast:
        assert slow[name] == pytest.approx(fast[name], abs=1e-12)


def test_a_paired_difference_is_narrower_than_the_scores_apart():
    task = Genre(["a", "b"])
    ours, references = genre_predictions(80, 100)
    theirs, _ = genre_predictions(70, 100)
    low, high = difference(task, ours, theirs, references)["accuracy"]
    assert 0 < low < 0.1 < high < 0.2
    apart = [interval(task, predictions, references)["accuracy"] for predictions in (ours, theirs)]
    assert apart[0][0] < apart[1][1]


def test_tags_that_only_some_resamples_can_score_are_averaged_where_they_can():
    scores = np.array([[0.9], [0.1], [0.2], [0.3]], np.float32)
    references = np.array([[1], [0], [0], [0]], np.float32)
    drawn = resampled(Tagging(["rare"]), scores, references, 100, 0)["roc_auc"]
    assert set(drawn[np.isfinite(drawn)]) == {1.0}
    assert np.isnan(drawn).any()


def test_nothing_to_score_is_an_error():
    with pytest.raises(UserError, match="can be scored"):
        interval(Tagging(["a"]), np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32))


def test_equal_predictions_differ_by_nothing_and_not_more_than_chance():
    task, (predictions, references) = Genre(["a", "b"]), genre_predictions(30, 41)
    drawn = resampled(task, predictions, references, 200, 0)["accuracy"]
    found = differences({"one": SystemScores([0.7], drawn), "other": SystemScores([0.7], drawn)}, 41)
    assert found == {("one", "other"): Difference(0.0, 0.0, 0.0)}
    assert not found["one", "other"].more_than_chance


def test_one_pair_has_about_the_interval_of_the_resampled_difference():
    task, (ours, references), (theirs, _) = Genre(["a", "b"]), genre_predictions(160, 200), genre_predictions(130, 200)
    systems = {
        name: SystemScores(
            [task.score(predictions, references)["accuracy"]],
            resampled(task, predictions, references, 4000, 0)["accuracy"],
        )
        for name, predictions in (("ours", ours), ("theirs", theirs))
    }
    found = differences(systems, 200)["ours", "theirs"]
    assert found.ahead == pytest.approx(0.15)
    assert (found.low, found.high) == pytest.approx(
        difference(task, ours, theirs, references, n=4000)["accuracy"], abs=0.01
    )
    assert found.more_than_chance


def test_every_metric_of_every_task_has_its_limits():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, 2)).astype(np.float32)
    tempi, tags = rng.uniform(60, 180, 8).astype(np.float32), (np.arange(16).reshape(8, 2) % 3 == 0).astype(np.float32)
    numbers = np.arange(8) % 2
    for task, predictions, references in (
        (Genre(["a", "b"]), np.eye(2, dtype=np.float32)[numbers], numbers),
        (Key(), np.eye(24, dtype=np.float32)[numbers], numbers),
        (Tagging(["a", "b"]), rng.random((8, 2)).astype(np.float32), tags),
        (Emotion([0, 0], [1, 1]), -values, values),
        (Tempo(), rng.random((8, Tempo().n_outputs)).astype(np.float32), tempi),
        (TempoRegression(mean=[7.0], scale=[0.3]), tempi[:, None], tempi),
    ):
        for metric, (low, high) in interval(task, predictions, references, n=20).items():
            least, most = limits(metric)
            assert most == 1
            assert least <= low <= high <= most
            assert least == (-np.inf if metric.startswith("r2") else 0)


def test_the_intervals_of_every_tag():
    rng = np.random.default_rng(0)
    task, references = Tagging(["a", "b", "never"]), (rng.random((80, 3)) < [0.3, 0.5, 0]).astype(np.float32)
    predictions = (rng.random((80, 3)) + 0.4 * references).clip(0, 1.4).astype(np.float32) / 1.4
    found = interval_per_class(task, predictions, references, n=2000)
    assert set(found) == {"a", "b"}
    alone = interval(Tagging(["a"]), predictions[:, :1], references[:, :1], n=2000)
    assert found["a"] == {name: pytest.approx(ends) for name, ends in alone.items()}
    assert interval_per_class(Genre(["a", "b"]), *genre_predictions(7, 10)) == {}
