"""Predictions for clips that become one for a song."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from experiments.errors import UserError
from experiments.probes.validation import Evaluator, best_rule, song_means, song_predictions, song_targets, songs
from experiments.tasks import Genre, Key, Tagging
from models.probes.songs import RULES

TASK = Genre(["a", "b", "c"])


def by_hand(rule: str, clips: np.ndarray) -> int:
    """The prediction for a song of clips `[clips, classes]`."""
    if rule == "vote":
        return int(np.bincount(clips.argmax(1), minlength=clips.shape[1]).argmax())
    if rule == "max":
        return int(clips.max(0).argmax())
    return int((clips if rule == "gmean" else softmax(clips, axis=1)).mean(0).argmax())


@given(seed=st.integers(0, 1000), n=st.integers(2, 30), rule=st.sampled_from(RULES["class"]))
def test_rules_are_those_of_the_paper(seed, n, rule):
    rng = np.random.default_rng(seed)
    outputs, groups = rng.normal(size=(n, 3)).astype(np.float32), [str(one) for one in rng.integers(0, 6, n)]
    names, rows = songs(groups)
    made = song_predictions(TASK, rule, outputs, groups)
    assert made.shape == (len(names), 3)
    np.testing.assert_allclose(made.sum(1), 1, atol=1e-5)
    assert [int(one) for one in made.argmax(1)] == [by_hand(rule, outputs[rows == song]) for song in range(len(names))]


def test_a_tied_vote_is_the_first_class():
    outputs = np.eye(3, dtype=np.float32)[[2, 1, 1, 2]]
    assert song_predictions(TASK, "vote", outputs, ["s"] * 4)[0].argmax() == 1


def test_tags_and_values_are_averaged():
    outputs, groups = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32), list("ababab")
    made = song_predictions(Tagging(["x", "y"]), "mean", outputs, groups)
    np.testing.assert_allclose(made, [expit(outputs[first::2]).mean(0) for first in (0, 1)], rtol=1e-5)


def test_the_best_rule_counts_and_of_equal_ones_the_first():
    outputs = np.array([[9, 0, 0], [0, 1, 0], [0, 1, 0]], np.float32)  # by vote b, by the others a
    targets = np.array([1, 1, 1])
    evaluator = Evaluator(TASK, targets, ["s"] * 3)
    assert evaluator.scores_by_rule(torch.from_numpy(outputs)[None])[:, 0].tolist() == [1, 0, 0, 0]
    assert float(evaluator.scores(torch.from_numpy(outputs)[None])) == 1
    assert best_rule(TASK, outputs, targets, ["s"] * 3) == "vote"
    assert best_rule(TASK, outputs, np.array([2, 2, 2]), ["s"] * 3) == "vote"
    assert best_rule(Key(), np.eye(24, dtype=np.float32)[[3, 4]], np.array([3, 4]), ["s", "t"]) == "vote"


def test_clips_of_a_song_that_disagree_are_named():
    assert song_targets(TASK, np.array([2, 2, 0]), ["s", "s", "t"]).tolist() == [2, 0]
    with pytest.raises(UserError, match="clips of 's' have different annotations"):
        song_targets(TASK, np.array([2, 1, 0]), ["s", "s", "t"])


@given(seed=st.integers(0, 1000), before=st.lists(st.integers(1, 3), max_size=2))
def test_means_are_those_of_the_clips_of_each_song(seed, before):
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.concatenate([np.arange(4), rng.integers(0, 4, 5)]))
    values = rng.normal(size=(*before, 9, 2)).astype(np.float32)
    expected = np.stack([values[..., rows == song, :].mean(-2, dtype=np.float64) for song in range(4)], -2)
    np.testing.assert_allclose(song_means(values, rows), expected, rtol=1e-12, atol=1e-12)
