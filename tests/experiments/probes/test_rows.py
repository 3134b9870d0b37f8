"""Baselines of the table."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from datasets.store import Header, Store, StoreWriter
from datasets.vectors import MEL_STATISTICS, gather
from experiments import demo
from experiments.configs.catalogue import PRETRAIN, PROBE
from experiments.layer_folders import layer_in
from experiments.probes.rows import majority_or_mean
from experiments.settings import EmbeddingsSettings, PretrainSettings, ProbeExperimentSettings
from experiments.tasks import build
from experiments.tracking import overrides


@pytest.fixture
def store(tmp_path) -> Store:
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path, Header("mel", (96,), producer={}, fingerprint="0123")) as writer:
        for name, frames in {"a": 5, "b": 3000}.items():
            writer.append(name, (3 + rng.normal(size=(frames, 96))).astype(np.float16))
    return Store(tmp_path)


def test_mel_statistics_are_those_of_the_stored_frames_in_double(store):
    x = gather(store, ["b", "a"], MEL_STATISTICS)
    assert (x.shape, x.dtype) == ((2, 192), np.float32)
    for row, name in zip(x, ["b", "a"], strict=True):
        frames = store.read(name).astype(np.float64)
        np.testing.assert_allclose(row, np.r_[frames.mean(0), frames.std(0)], rtol=1e-6)


def test_genre_is_predicted_by_the_majority_class():
    task = build("genre", classes=["x", "y", "z"])
    targets, references = np.array([0, 1, 1, 2, 1]), np.array([0, 1, 2, 1])
    predictions = majority_or_mean(task, targets, len(references))
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((5, 1)), targets)
    np.testing.assert_allclose(predictions, dummy.predict_proba(np.zeros((4, 1))), rtol=1e-6)
    assert task.score(predictions, references)["accuracy"] == 0.5


def test_tags_are_predicted_by_their_frequencies_which_is_chance():
    task = build("tagging", classes=["x", "y"])
    references = np.array([[1, 0], [0, 1], [0, 0], [1, 0]], np.float32)
    predictions = majority_or_mean(task, references, 4)
    assert predictions.dtype == np.float32
    score = task.score(predictions, references)
    assert score["roc_auc"] == 0.5
    assert score["ap"] == pytest.approx(references.mean())


def test_emotion_is_predicted_by_the_mean():
    task = build("emotion", mean=[0, 0], scale=[1, 1])
    targets = np.array([[1, 5], [3, 5.5], [5, 9]], np.float32)
    predictions = majority_or_mean(task, targets, 3)
    np.testing.assert_allclose(predictions, [[3, 6.5]] * 3)
    assert task.score(predictions, targets)["r2"] == pytest.approx(0, abs=1e-6)


def test_tempo_is_predicted_by_the_median():
    task = build("tempo_regression", mean=[7], scale=[1])
    predictions = majority_or_mean(task, np.array([60, 100, 101, 180, 200], np.float32), 2)
    assert predictions.dtype == np.float32
    np.testing.assert_array_equal(predictions, [[101], [101]])


def test_keys_are_predicted_by_the_commonest():
    task = build("key")
    predictions = majority_or_mean(task, np.array([3, 20, 20, 5]), 2)
    assert predictions.shape == (2, 24)
    assert predictions.argmax(axis=1).tolist() == [20, 20]


def test_the_former_name_of_a_baseline_is_understood():
    assert EmbeddingsSettings(baselines=["constant"]).baselines == ["majority_or_mean"]


def test_any_system_has_its_random_network():
    composed = overrides.compose(PretrainSettings, PRETRAIN, ["maest_30s_pretrain", "random_network"]).settings
    assert composed.model.pretrained is None
    assert composed.inference.random_weights


def test_the_demo_makes_every_store_that_its_config_names():
    embeddings = overrides.compose(ProbeExperimentSettings, PROBE, ["demo"]).settings.embeddings
    flow = demo.steps("tiny", Path("audio"))
    made = list(next(flow).command)
    with contextlib.suppress(StopIteration):
        while True:
            made += flow.send(Path("runs/key")).command
    for place in (embeddings.store, *embeddings.compare.values(), *embeddings.predictions.values()):
        store = Path(place)
        assert place in made or f"inference.out_dir={store.parent}" in made, place
        if isinstance(layer := layer_in(store.name), str):
            assert f"inference.layer={layer}" in made
