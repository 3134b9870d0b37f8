"""Tagging against scikit-learn, including ties and tags that cannot be scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from experiments.errors import UserError
from experiments.tasks import Tagging, Task, build

TAGS = ("piano", "strings", "drums", "female voice", "slow")


@pytest.fixture
def task() -> Tagging:
    return build("tagging", classes=TAGS)


def random_answers(seed: int, n: int = 60, steps: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Scores of few distinct values, so that most are tied, and tags of very different frequency."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, steps, (n, len(TAGS))) / steps).astype(np.float32)
    references = (rng.random((n, len(TAGS))) < [0.5, 0.2, 0.1, 0.8, 0.3]).astype(np.float32)
    references[0], references[1] = 1, 0
    return scores, references


def test_it_is_a_task(task):
    assert isinstance(task, Task)
    assert (task.name, task.primary, task.n_outputs, task.classes) == ("tagging", "roc_auc", 5, TAGS)


def test_encode_gives_a_multi_hot_vector_and_accepts_no_tag_at_all(task):
    target = task.encode({"slow", "piano"})
    assert target.dtype == np.float32
    assert target.tolist() == [1, 0, 0, 0, 1]
    assert task.encode([]).sum() == 0


def test_an_unknown_tag_is_named_with_the_nearest(task):
    with pytest.raises(UserError, match=r"'Female Voices'; did you mean 'female voice'\? Valid: piano, strings"):
        task.encode(["piano", "Female Voices"])


@pytest.mark.parametrize("annotation", ["piano", None])
def test_a_string_or_nothing_is_no_collection_of_tags(task, annotation):
    with pytest.raises(UserError, match="give a list such as"):
        task.encode(annotation)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "0 classes given"),
        (["a", "b", "a"], "'a' is listed more than once"),
        (["a", " "], "is not the name of a class"),
        ("piano", "give a list of names"),
    ],
)
def test_classes_are_checked(classes, message):
    with pytest.raises(UserError, match=message):
        Tagging(classes)


def test_loss_is_the_mean_cross_entropy_and_takes_soft_targets_and_low_precision(task):
    logits = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.rand(8, 5, generator=torch.Generator().manual_seed(1))
    probability = torch.sigmoid(logits)
    expected = -(targets * probability.log() + (1 - targets) * (1 - probability).log()).mean()
    torch.testing.assert_close(task.loss(logits, targets), expected)
    low = task.loss(logits.bfloat16(), targets.half())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, expected, rtol=2e-2, atol=0)


def test_decode_is_the_float32_sigmoid_of_tensors_and_arrays(task):
    logits = torch.tensor([[-200.0, -1.0, 0.0, 1.0, 200.0]])
    expected = torch.sigmoid(logits).numpy()
    for outputs in (logits, logits.numpy().astype(np.float64), logits.double().requires_grad_()):
        probabilities = task.decode(outputs)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, expected, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("steps", [2, 7, 10**6])
def test_scores_are_those_of_scikit_learn(task, steps):
    scores, references = random_answers(3, steps=steps)
    result = task.score(scores, references)
    assert result["roc_auc"] == roc_auc_score(references, scores, average="macro")
    assert result["ap"] == average_precision_score(references, scores, average="macro")
    assert (result["n_scorable"], result["n_items"]) == (5.0, 60.0)
    assert all(type(value) is float for value in result.values())
    assert task.primary_score(scores, references) == pytest.approx(result["roc_auc"], abs=1e-13)
    per_class = task.score_per_class(scores, references)
    assert per_class["drums"]["ap"] == average_precision_score(references[:, 2], scores[:, 2])
    assert np.mean([row["roc_auc"] for row in per_class.values()]) == pytest.approx(result["roc_auc"], abs=1e-13)


def test_f29_tags_without_positives_or_without_negatives_are_left_out_and_counted(task):
    scores, references = random_answers(5)
    references[:, 1], references[:, 3] = 0, 1
    result = task.score(scores, references)
    kept = [0, 2, 4]
    assert result["roc_auc"] == roc_auc_score(references[:, kept], scores[:, kept])
    assert result["ap"] == average_precision_score(references[:, kept], scores[:, kept])
    assert result["n_scorable"] == 3
    assert list(task.score_per_class(scores, references)) == ["piano", "drums", "slow"]


@pytest.mark.parametrize("method", ["score", "score_per_class", "primary_score"])
def test_when_no_tag_can_be_scored_the_error_says_so(task, method):
    scores, references = random_answers(5)
    with pytest.raises(UserError, match="none of the 5 tags can be scored on 60 items"):
        getattr(task, method)(scores, np.zeros_like(references))


def test_broken_answers_are_named(task):
    scores, references = random_answers(5)
    with pytest.raises(UserError, match=r"references of shape \[59, 5\]"):
        task.score(scores, references[1:])
    with pytest.raises(UserError, match=r"expected \[items, 5\]"):
        task.score(scores[:, :4], references[:, :4])
    with pytest.raises(UserError, match="values other than 0 and 1"):
        task.score(scores, references * 0.5)
    scores[7, 2] = np.nan
    with pytest.raises(UserError, match="1 prediction not finite, the first of item 7, class 'drums'"):
        task.score(scores, references)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(2, 50))
def test_the_order_of_items_changes_nothing(seed, steps):
    task = Tagging(TAGS)
    scores, references = random_answers(seed, steps=steps)
    order = np.random.default_rng(seed).permutation(len(scores))
    assert task.score(scores[order], references[order]) == pytest.approx(task.score(scores, references), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 30), steps=st.integers(2, 12))
def test_resampled_scores_are_the_scores_of_the_resamples(seed, n, steps):
    task = Tagging(TAGS)
    scores, references = random_answers(seed, n, steps)
    draws = np.random.default_rng(seed).integers(0, n, (6, n))
    weights = np.stack([np.bincount(draw, minlength=n) for draw in draws])
    resampled = task.score_resampled(scores, references, weights)
    np.testing.assert_array_equal(task.primary_resampled(scores, references, weights), resampled["roc_auc"])
    for row, draw in enumerate(draws):
        if np.isfinite(resampled["roc_auc"][row]):
            expected = task.score(scores[draw], references[draw])
            assert resampled["roc_auc"][row] == pytest.approx(expected["roc_auc"], abs=1e-12)
            assert resampled["ap"][row] == pytest.approx(expected["ap"], abs=1e-12)
        else:
            with pytest.raises(UserError, match="can be scored"):
                task.score(scores[draw], references[draw])


def test_further_metrics_are_micro_averages_over_the_scorable_tags(task):
    scores, references = random_answers(3)
    references[:, 2], references[:, 3] = 0, 1
    further = task.score_further(scores, references)
    kept = [0, 1, 4]
    assert further["roc_auc_micro"] == roc_auc_score(references[:, kept], scores[:, kept], average="micro")
    assert further["ap_micro"] == average_precision_score(references[:, kept], scores[:, kept], average="micro")
    assert task.unscorable(references) == {"drums": 0, "female voice": 60}
    assert set(further).isdisjoint(task.score(scores, references))


def test_the_mean_average_precision_of_each_category(task):
    scores, references = random_answers(4)
    each = [average_precision_score(references[:, c], scores[:, c]) for c in range(5)]
    further = task.score_further(scores, references)
    assert further["ap_instrument"] == pytest.approx(np.mean(each[:3]))
    assert (further["ap_voice"], further["ap_mood_tempo"]) == pytest.approx((each[3], each[4]))
    assert "ap_genre" not in further
    references[:, 3] = 0
    assert "ap_voice" not in task.score_further(scores, references)
    other = build("tagging", classes=["own", *TAGS[1:]])
    assert set(other.score_further(scores, references)) == {"roc_auc_micro", "ap_micro"}


@given(st.integers(0, 999), st.integers(1, 70), st.sampled_from([0.1, 1.0, 30.0]))
@settings(max_examples=30, deadline=None)
def test_the_derivative_of_the_loss_is_that_of_automatic_differentiation(seed, items, scale):
    task, rng = build("tagging", classes=TAGS), np.random.default_rng(seed)
    outputs = torch.from_numpy(scale * rng.normal(size=(3, items, len(TAGS))).astype(np.float32)).requires_grad_()
    targets = torch.from_numpy(rng.random((items, len(TAGS))).astype(np.float32))
    (expected,) = torch.autograd.grad(sum(task.loss(one, targets) for one in outputs), outputs)
    found = task.loss_slope(outputs.detach().clone(), targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-7 / targets.numel())


def test_tags_on_resamples_are_those_of_repeated_items(task):
    scores, references = random_answers(5)
    weights = np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), size=4).astype(np.float32)
    found = task.score_per_class_resampled(scores, references, weights)
    for row, drawn in enumerate(weights.astype(int)):
        items = np.repeat(np.arange(60), drawn)
        expected = task.score_per_class(scores[items], references[items])
        for (tag, metric), values in found.items():
            if tag in expected:
                assert values[row] == pytest.approx(expected[tag][metric], abs=1e-6)
