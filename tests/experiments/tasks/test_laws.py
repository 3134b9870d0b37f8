"""What holds for every task of the table about whole recordings, whatever it is about."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import UserError
from experiments.tasks import TASKS, Task, build, from_metadata
from experiments.tracks.strata import membership

MADE = {
    "tagging": build("tagging", classes=["a", "b", "c"]),
    "genre": build("genre", classes=["a", "b", "c"]),
    "key": build("key"),
    "emotion": build("emotion", mean=[4.8, 5.0], scale=[1.4, 1.2]),
    "tempo": build("tempo"),
    "tempo_regression": build("tempo_regression", mean=[6.9], scale=[0.4]),
    "tempo_any_octave": build("tempo_any_octave"),
}
WHOLE = [name for name, kind in TASKS.items() if kind.clip_level]
every = pytest.mark.parametrize("name", WHOLE)


def targets_of(name: str, n: int, rng: np.random.Generator) -> np.ndarray:
    if name == "tagging":
        return np.vstack([np.eye(2, 3), rng.random((n - 2, 3)) < 0.4]).astype(np.float32)
    if name in ("genre", "key"):
        return rng.integers(0, 3, n)
    if name == "emotion":
        return rng.integers(1, 10, (n, 2)).astype(np.float32)
    return rng.uniform(40, 220, n).astype(np.float32)


def problem(name: str, seed: int, n: int = 12, systems: int = 3) -> tuple[Task, np.ndarray, np.ndarray]:
    """Outputs `[systems, n, n_outputs]` with ties, and targets."""
    rng = np.random.default_rng(seed)
    task = MADE[name]
    outputs = rng.integers(-4, 5, (systems, n, task.n_outputs)).astype(np.float32) / 2
    return task, outputs, targets_of(name, n, rng)


@every
def test_each_is_a_task_and_says_what_it_is(name):
    task = MADE[name]
    assert isinstance(task, Task)
    assert task.kind in ("class", "tags", "values")
    assert len(task.classes) == task.n_outputs == len(set(task.classes))


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(WHOLE), seed=st.integers(0, 2**31), n=st.integers(4, 30))
def test_one_primary_metric_in_three_forms(name, seed, n):
    task, outputs, targets = problem(name, seed, n)
    together = task.primary_scores(torch.from_numpy(outputs), torch.from_numpy(targets))
    assert together.dtype == torch.float64
    for one, value in zip(outputs, together.tolist(), strict=True):
        decoded = task.decode(one)
        alone = task.primary_score(decoded, targets)
        assert alone == pytest.approx(task.score(decoded, targets)[task.primary], abs=1e-9)
        assert value == pytest.approx(alone, rel=1e-5, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(["key", "emotion", "tempo", "tempo_regression", "tempo_any_octave"]),
    seed=st.integers(0, 2**31),
)
def test_resampled_scores_are_the_scores_of_repeated_items(name, seed):
    task, outputs, targets = problem(name, seed, 14)
    decoded, rng = task.decode(outputs[0]), np.random.default_rng(seed)
    draws = rng.integers(0, 14, (5, 14))
    draws[:, :2] = [0, 1]
    draws[0] = [3] * 14  # a single item, over and over
    weights = np.stack([np.bincount(draw, minlength=14) for draw in draws])
    resampled = task.score_resampled(decoded, targets, weights)
    for number, draw in enumerate(draws):
        expected = task.score(decoded[draw], targets[draw])
        assert set(resampled) == {metric for metric in expected if not metric.startswith("n_")}
        for metric, values in resampled.items():
            assert values[number] == pytest.approx(expected[metric], rel=1e-9, abs=1e-9)


@every
def test_a_file_can_make_it_again(name):
    task, outputs, _ = problem(name, 0)
    about = json.loads(json.dumps(task.metadata))
    again = from_metadata(about["task"], about["labels"], about.get("options"))
    assert again.classes == task.classes
    np.testing.assert_array_equal(again.decode(outputs[0]), task.decode(outputs[0]))


@pytest.mark.parametrize(
    ("name", "labels", "options"),
    [
        ("emotion", ["arousal", "valence"], None),
        ("emotion", ["arousal", "valence"], {"scale": [1, 1]}),
        ("key", ["C"], {}),
    ],
)
def test_a_file_that_was_changed_is_refused(name, labels, options):
    with pytest.raises(UserError, match=f"^{name}: .*changed"):
        from_metadata(name, labels, options)


@every
def test_the_loss_falls_towards_the_targets_mixed_or_not(name):
    task, _, targets = problem(name, 1)
    target = torch.from_numpy(targets)
    mixed = task.smooth_labels(target)
    assert mixed.is_floating_point()
    torch.testing.assert_close(task.smooth_labels(mixed), mixed)
    mixed = 0.7 * mixed + 0.3 * mixed.flip(0)
    for wanted in (target, mixed):
        outputs = torch.zeros(len(target), task.n_outputs, requires_grad=True)
        before = task.loss(outputs, wanted)
        before.backward()
        assert before.dtype == torch.float32
        assert task.loss(outputs - 0.1 * outputs.grad, wanted) < before
    assert task.loss(torch.zeros(len(target), task.n_outputs).bfloat16(), target).dtype == torch.float32


@every
def test_every_track_is_of_some_kind(name):
    task, _, targets = problem(name, 2, 40)
    member, names = membership(task, targets)
    assert member.shape == (40, len(names))
    if name != "tagging":
        assert (member.sum(1) == 1).all()


@every
@pytest.mark.parametrize("predictions", [np.zeros((3, 1000)), np.zeros(3), np.zeros((0, 2))])
def test_predictions_of_another_shape_are_refused(name, predictions):
    with pytest.raises(UserError, match=name):
        MADE[name].score(predictions, np.zeros(len(predictions)))


@pytest.mark.parametrize("name", ["emotion", "tempo", "tempo_regression"])
def test_broken_references_are_named(name):
    task, outputs, targets = problem(name, 0)
    decoded = task.decode(outputs[0])
    with pytest.raises(UserError, match=rf"{name}: references of shape .* expected"):
        task.score(decoded, targets[1:])
    with pytest.raises(UserError, match="1 reference not finite"):
        task.score(decoded, np.where(np.arange(targets.size).reshape(targets.shape) == 3, np.nan, targets))
