"""Baselines."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from datasets.store import Header, Store, StoreWriter
from experiments.baselines import MEL_STATISTICS, constant, mel_statistics
from experiments.errors import UserError
from experiments.tasks import build
from experiments.vectors import load_split


@pytest.fixture
def store(tmp_path) -> Store:
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path, Header("mel", (96,), producer={}, fingerprint="0123")) as writer:
        for name, frames in {"a": 5, "b": 3000}.items():
            writer.append(name, (3 + rng.normal(size=(frames, 96))).astype(np.float16))
    return Store(tmp_path)


def test_mel_statistics_are_those_of_the_stored_frames_in_double(store):
    x = mel_statistics(store, ["b", "a"])
    assert (x.shape, x.dtype) == ((2, 192), np.float32)
    for row, name in zip(x, ["b", "a"], strict=True):
        frames = store.read(name).astype(np.float64)
        np.testing.assert_allclose(row, np.r_[frames.mean(0), frames.std(0)], rtol=1e-6)


def test_a_missing_track_is_named(store):
    with pytest.raises(UserError, match="1 of 2 tracks are not in the mel store, the first is 'c'"):
        mel_statistics(store, ["a", "c"])


def test_they_make_a_split_like_embeddings_do(store):
    task = build("genre", classes=["x", "y"])
    split = load_split(store, ["a", "b", "c"], task, {"a": "x", "b": "y", "c": "x"}, MEL_STATISTICS)
    assert split.ids == ["a", "b"]
    assert split.missing == ("c",)
    assert split.features["kind"] == "mel"


def test_the_constant_answer_to_genre_is_the_majority():
    task = build("genre", classes=["x", "y", "z"])
    targets, references = np.array([0, 1, 1, 2, 1]), np.array([0, 1, 2, 1])
    predictions = constant(task, targets, len(references))
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((5, 1)), targets)
    np.testing.assert_allclose(predictions, dummy.predict_proba(np.zeros((4, 1))), rtol=1e-6)
    assert task.score(predictions, references)["accuracy"] == 0.5


def test_the_constant_answer_to_tagging_is_chance():
    task = build("tagging", classes=["x", "y"])
    references = np.array([[1, 0], [0, 1], [0, 0], [1, 0]], np.float32)
    predictions = constant(task, references, 4)
    assert predictions.dtype == np.float32
    score = task.score(predictions, references)
    assert score["roc_auc"] == 0.5
    assert score["ap"] == pytest.approx(references.mean())
