"""Genre against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from experiments.errors import UserError
from experiments.tasks import Genre, Task, build

GENRES = ("blues", "classical", "disco", "reggae")


@pytest.fixture
def task() -> Genre:
    return build("genre", classes=list(GENRES))


def random_answers(seed: int, n: int = 50, classes: int = len(GENRES)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(len(GENRES)), n).astype(np.float32)
    return scores, rng.integers(0, classes, n)


def test_it_is_a_task(task):
    assert isinstance(task, Task)
    assert (task.name, task.primary, task.n_outputs, task.classes) == ("genre", "accuracy", 4, GENRES)


def test_encode_gives_the_number_of_the_class(task):
    target = task.encode("disco")
    assert (int(target), target.dtype, target.shape) == (2, np.int64, ())


@pytest.mark.parametrize("annotation", ["Regae", None, ["disco"]])
def test_an_unknown_genre_is_named(task, annotation):
    with pytest.raises(UserError, match=r"unknown genre .* Valid: blues, classical, disco, reggae"):
        task.encode(annotation)
    with pytest.raises(UserError, match="did you mean 'reggae'"):
        task.encode("Regae")


def test_several_genres_are_refused_and_a_tuple_of_one_is_it(task):
    assert int(task.encode(("disco",))) == 2
    with pytest.raises(UserError, match=r"'disco' and 'blues' given, expected one; datamodule\.columns\.tags=COLUMN"):
        task.encode(("disco", "blues"))
    with pytest.raises(UserError, match="none given"):
        task.encode(())


def test_one_class_is_no_question():
    with pytest.raises(UserError, match="1 class given, at least 2"):
        Genre(["rock"])


def test_loss_takes_class_numbers_and_probabilities(task):
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    expected = -logits.log_softmax(1)[torch.arange(8), targets].mean()
    torch.testing.assert_close(task.loss(logits, targets), expected)
    torch.testing.assert_close(task.loss(logits, targets.int()), expected)
    torch.testing.assert_close(task.loss(logits, torch.nn.functional.one_hot(targets).half()), expected)
    assert task.loss(logits.half(), targets).dtype == torch.float32


def test_decode_is_the_softmax(task):
    logits = torch.tensor([[1000.0, 0.0, -5.0, 2.0], [0.1, 0.2, 0.3, 0.4]])
    probabilities = task.decode(logits.bfloat16())
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, logits.bfloat16().float().softmax(1), atol=1e-7)


def test_scores_are_those_of_scikit_learn(task):
    scores, references = random_answers(1)
    answers = scores.argmax(1)
    assert task.score(scores, references) == {
        "accuracy": accuracy_score(references, answers),
        "macro_f1": f1_score(references, answers, average="macro"),
        "n_scorable": 4.0,
        "n_items": 50.0,
    }
    assert all(type(value) is float for value in task.score(scores, references).values())
    assert task.primary_score(scores, references) == accuracy_score(references, answers)
    np.testing.assert_array_equal(task.confusion(scores, references), confusion_matrix(references, answers))


def test_classes_that_the_references_lack_are_left_out_and_counted(task):
    scores, references = random_answers(1, classes=2)
    result = task.score(scores, references)
    answers = scores.argmax(1)
    per_class = task.score_per_class(scores, references)
    assert result["n_scorable"] == 2
    assert result["macro_f1"] == f1_score(references, answers, average=None, labels=[0, 1]).mean()
    assert list(per_class) == ["blues", "classical"]
    assert per_class["blues"]["n_positive"] == np.sum(references == 0)
    assert np.mean([row["f1"] for row in per_class.values()]) == pytest.approx(result["macro_f1"])
    assert task.confusion(scores, references).shape == (4, 4)


@pytest.mark.parametrize(
    ("references", "message"),
    [
        (np.zeros(49, int), r"shape \[49\]"),
        (np.zeros(50), "type float64"),
        (np.full(50, 4), r"class number 4 in the references, expected 0\.\.3"),
        (np.full(50, -1), "class number -1"),
    ],
)
def test_broken_references_are_named(task, references, message):
    with pytest.raises(UserError, match=message):
        task.score(random_answers(0)[0], references)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 40))
def test_resampled_scores_are_the_scores_of_the_resamples_whatever_their_order(seed, n):
    task = Genre(GENRES)
    scores, references = random_answers(seed, n)
    draws = np.random.default_rng(seed).integers(0, n, (6, n))
    weights = np.stack([np.bincount(draw, minlength=n) for draw in draws])
    resampled = task.score_resampled(scores, references, weights)
    for row, draw in enumerate(draws):
        expected = task.score(scores[draw], references[draw])
        assert resampled["accuracy"][row] == pytest.approx(expected["accuracy"], abs=1e-12)
        assert resampled["macro_f1"][row] == pytest.approx(expected["macro_f1"], abs=1e-12)
