"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from experiments.errors import UserError
from experiments.intervals import (
    Difference,
    SystemScores,
    bounds,
    differences,
    interval,
    limits,
    margin,
    resampled,
    resampled_together,
)
from experiments.tasks import Emotion, Genre, Key, Tagging, Task, Tempo, TempoRegression


def genre_answers(right: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    references = np.arange(n) % 2
    answers = np.where(np.arange(n) < right, references, 1 - references)
    return np.eye(2, dtype=np.float32)[answers], references


def difference(task, ours, theirs, references, n=1000) -> dict[str, tuple[float, float]]:
    """The central 95 % of `ours - theirs` on the same resamples."""
    one, other = resampled_together(task, [ours, theirs], references, n, seed=0)
    return {name: tuple(np.quantile(one[name] - other[name], [0.025, 0.975])) for name in one}


class WithoutShortcut(Tagging):
    """A task that can only be scored one resample at a time."""

    score_resampled, primary_resampled = Task.score_resampled, Task.primary_resampled


def test_the_interval_of_an_accuracy_is_the_binomial_one():
    low, high = interval(Genre(["a", "b"]), *genre_answers(70, 100), n=20_000)["accuracy"]
    assert [low, high] == pytest.approx(binom.ppf([0.025, 0.975], 100, 0.7) / 100, abs=0.01)


@pytest.mark.parametrize("n", [1, 10, 290])
def test_where_all_or_none_are_right_the_interval_is_that_of_the_exact_binomial_test(n):
    from scipy.stats import binomtest

    task = Genre(["a", "b"])
    for right in (0, n):
        exact = binomtest(right, n).proportion_ci(0.95, method="exact")
        assert interval(task, *genre_answers(right, n), n=100)["accuracy"] == pytest.approx(tuple(exact), abs=1e-12)


def test_one_answer_to_all_items_has_an_exact_roc_auc():
    references = np.array([[0.0], [1.0], [1.0], [0.0]], np.float32)
    assert interval(Tagging(["a"]), np.full((4, 1), 0.3, np.float32), references, n=100)["roc_auc"] == (0.5, 0.5)


@pytest.mark.parametrize(("n", "more"), [(3, False), (5, False), (6, True), (40, True)])
def test_a_difference_that_never_moves_is_judged_as_by_a_sign_test(n, more):
    drawn = np.zeros(100)
    (found,) = differences({"right": SystemScores([1.0], drawn + 1), "wrong": SystemScores([0.0], drawn)}, n).values()
    assert found.ahead == 1.0
    assert found.more_than_chance is more


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
    slow = interval(WithoutShortcut(["a", "b"]), scores, references, n=40)
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
    drawn = resampled(Tagging(["rare"]), scores, references, 100, 0)["roc_auc"]
    assert set(drawn[np.isfinite(drawn)]) == {1.0}
    assert np.isnan(drawn).any()


def test_nothing_to_score_is_an_error():
    with pytest.raises(UserError, match="can be scored"):
        interval(Tagging(["a"]), np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32))


def normal_system(rng, level: float, n_items: int = 200, n: int = 250, seeds: int = 1, spread: float = 0.0, tried=1):
    """A system whose score is the mean of its items' values, with what every seed adds."""
    items = level + rng.normal(size=n_items)
    weights = rng.multinomial(n_items, np.full(n_items, 1 / n_items), size=n)
    added = spread * rng.normal(size=seeds)
    return SystemScores(items.mean() + added, weights @ items / n_items, tried)


def test_equal_answers_differ_by_nothing_and_not_more_than_chance():
    task, (answers, references) = Genre(["a", "b"]), genre_answers(30, 41)
    drawn = resampled(task, answers, references, 200, 0)["accuracy"]
    found = differences({"one": SystemScores([0.7], drawn), "other": SystemScores([0.7], drawn)}, 41)
    assert found == {("one", "other"): Difference(0.0, 0.0, 0.0)}
    assert not found["one", "other"].more_than_chance


def test_one_pair_has_about_the_interval_of_the_resampled_difference():
    task, (ours, references), (theirs, _) = Genre(["a", "b"]), genre_answers(160, 200), genre_answers(130, 200)
    systems = {
        name: SystemScores(
            [task.score(answers, references)["accuracy"]], resampled(task, answers, references, 4000, 0)["accuracy"]
        )
        for name, answers in (("ours", ours), ("theirs", theirs))
    }
    found = differences(systems, 200)["ours", "theirs"]
    assert found.ahead == pytest.approx(0.15)
    assert (found.low, found.high) == pytest.approx(
        difference(task, ours, theirs, references, n=4000)["accuracy"], abs=0.01
    )
    assert found.more_than_chance


@pytest.mark.parametrize(("n_systems", "seeds", "spread"), [(2, 1, 0.0), (4, 1, 0.0), (2, 3, 0.3)])
def test_all_intervals_together_hold_the_truth_in_95_of_100_corpora(n_systems, seeds, spread):
    rng = np.random.default_rng(5)
    held, rounds = 0, 200
    for _ in range(rounds):
        levels = rng.normal(size=n_systems)
        systems = {str(at): normal_system(rng, level, seeds=seeds, spread=spread) for at, level in enumerate(levels)}
        found = differences(systems, 200)
        held += all(one.low <= levels[int(a)] - levels[int(b)] <= one.high for (a, b), one in found.items())
    assert binom.ppf(0.001, rounds, 0.95) <= held <= binom.ppf(0.9999, rounds, 0.98)


def test_the_best_of_many_by_luck_is_seldom_more_than_chance():
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(80):
        best = max((normal_system(rng, 0.0, 100, 200) for _ in range(20)), key=lambda one: one.seeds[0])
        systems = {"best": SystemScores(best.seeds, best.resampled, 20), "other": normal_system(rng, 0.0, 100, 200)}
        alarms += differences(systems, 100)["best", "other"].more_than_chance
    assert alarms <= binom.ppf(0.999, 80, 0.05)


def test_seeds_widen_and_more_of_them_less():
    assert margin(0.5, 0.7, [0.6]) == pytest.approx(0.1)
    assert margin(0.5, 0.7, [0.6, 0.6]) == pytest.approx(0.1)
    two, many = margin(0.5, 0.7, [0.55, 0.65]), margin(0.5, 0.7, [0.55, 0.65] * 8)
    assert 0.1 < many < two


@pytest.mark.parametrize("seeds", [[0.05], [0.0, 0.1], [0.0, 1.0], [0.9, 0.1, 0.5]])
def test_an_interval_ends_where_its_metric_does(seeds):
    low, high = bounds("accuracy", 0.0, 0.15, seeds)
    assert 0 <= low <= np.mean(seeds) <= high <= 1
    low, high = bounds("r2_valence", -8.0, 0.6, [one - 0.5 for one in seeds])
    assert low <= -8
    assert 0.6 <= high <= 1


def test_one_seed_leaves_an_interval_as_the_items_have_it():
    assert bounds("r2", -8.568, 0.634, [-0.024]) == pytest.approx((-8.568, 0.634))
    assert bounds("r2", -8.568, 0.634, [-0.024, -0.024]) == pytest.approx((-8.568, 0.634))


def test_what_seeds_add_is_the_same_on_both_sides():
    half = margin(0.4, 0.6, [0.48, 0.5, 0.52])
    assert bounds("accuracy", 0.4, 0.6, [0.48, 0.5, 0.52]) == pytest.approx((0.5 - half, 0.5 + half))


def test_a_difference_of_shares_is_at_most_one_of_r2_any():
    drawn = np.random.default_rng(0).normal(0.5, 0.2, 100)
    systems = {"a": SystemScores([0.1, 0.4], drawn), "b": SystemScores([0.4, 0.1], np.roll(drawn, 1))}
    for metric, wide in (("accuracy", False), ("r2", True), ("", True)):
        found = differences(systems, 10, metric)["a", "b"]
        assert (found.low < -1, found.high > 1) == (wide, wide)
        if not wide:
            assert (found.low, found.high) == (-1, 1)


def test_every_metric_of_every_task_has_its_limits():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, 2)).astype(np.float32)
    tempi, tags = rng.uniform(60, 180, 8).astype(np.float32), (np.arange(16).reshape(8, 2) % 3 == 0).astype(np.float32)
    numbers = np.arange(8) % 2
    for task, answers, references in (
        (Genre(["a", "b"]), np.eye(2, dtype=np.float32)[numbers], numbers),
        (Key(), np.eye(24, dtype=np.float32)[numbers], numbers),
        (Tagging(["a", "b"]), rng.random((8, 2)).astype(np.float32), tags),
        (Emotion([0, 0], [1, 1]), -values, values),
        (Tempo(), rng.random((8, Tempo().n_outputs)).astype(np.float32), tempi),
        (TempoRegression(mean=[7.0], scale=[0.3]), tempi[:, None], tempi),
    ):
        for metric, (low, high) in interval(task, answers, references, n=20).items():
            least, most = limits(metric)
            assert most == 1
            assert least <= low <= high <= most
            assert least == (-np.inf if metric.startswith("r2") else 0)


def test_seeds_are_compared_in_pairs_where_both_have_as_many():
    rng = np.random.default_rng(0)
    drawn, moved = rng.normal(size=300), [-0.2, 0.0, 0.2]
    paired = {
        "a": SystemScores([0.6 + one for one in moved], drawn),
        "b": SystemScores([0.5 + one for one in moved], drawn),
    }
    assert differences(paired, 50)["a", "b"].more_than_chance
    apart = paired | {"b": SystemScores([0.3, 0.5, 0.7, 0.5], drawn)}
    assert not differences(apart, 50)["a", "b"].more_than_chance


def test_systems_that_cannot_be_compared_are_errors():
    with pytest.raises(UserError, match="numbers of resamples"):
        differences({"a": SystemScores([1], np.zeros(3)), "b": SystemScores([1], np.zeros(4))}, 5)
    with pytest.raises(UserError, match="too few items"):
        differences({"a": SystemScores([1], np.full(3, np.nan)), "b": SystemScores([1], np.zeros(3))}, 5)
    assert differences({"a": SystemScores([1], np.zeros(3))}, 5) == {}
