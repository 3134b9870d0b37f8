"""Key against mir_eval, and how people write keys."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mir_eval.key import weighted_score
from sklearn.metrics import accuracy_score, confusion_matrix

from datasets.keys import parse_key
from experiments.errors import UserError
from experiments.tasks.key import CLASSES, Key, score_table

SHARPS = {"C#": "Db", "D#": "Eb", "F#": "Gb", "G#": "Ab", "A#": "Bb"}


def test_every_pair_of_keys_has_the_score_of_mir_eval_alone_and_in_batches():
    expected = np.array([[weighted_score(reference, key) for key in CLASSES] for reference in CLASSES])
    np.testing.assert_array_equal(score_table(), expected)
    assert expected[0, 7] == 0.5  # a fifth above
    assert expected[7, 0] == 0.0  # and below
    references = np.arange(24)
    always = np.eye(24, dtype=np.float32)[:, None].repeat(24, axis=1)  # every system predicts one key
    scores = [Key().score(predictions, references)["weighted_score"] for predictions in always]
    batched = Key().primary_scores(torch.from_numpy(always), torch.from_numpy(references))
    np.testing.assert_allclose(scores, expected.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(batched, expected.mean(axis=0), rtol=1e-15)
    every = np.eye(24)[np.tile(references, 24)], np.repeat(references, 24)
    items = Key().score_resampled(*every, np.eye(576))["weighted_score"]
    np.testing.assert_array_equal(items.reshape(24, 24), expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 40), levels=st.sampled_from([2, 3, 1000]))
def test_scores_are_those_of_mir_eval_and_scikit_learn(seed, n, levels):
    rng = np.random.default_rng(seed)
    predictions = (rng.integers(0, levels, (n, 24)) / levels).astype(np.float32)  # tied ones go to the first class
    references = rng.integers(0, 24, n)
    answers = np.array([min(np.flatnonzero(row == row.max())) for row in predictions])
    found = Key().score(predictions, references)
    points = [weighted_score(CLASSES[r], CLASSES[a]) for r, a in zip(references, answers, strict=True)]
    assert found == {
        "weighted_score": pytest.approx(np.mean(points), abs=1e-12),
        "accuracy": pytest.approx(accuracy_score(references, answers)),
        "n_items": float(n),
    }
    per_class = Key().score_per_class(predictions, references)
    assert list(per_class) == [CLASSES[number] for number in np.unique(references)]
    total = sum(row["weighted_score"] * row["n_positive"] for row in per_class.values())
    assert total / n == pytest.approx(found["weighted_score"])
    expected = confusion_matrix(references, answers, labels=range(24))
    np.testing.assert_array_equal(Key().confusion(predictions, references), expected)


@pytest.mark.parametrize("number", range(24))
def test_every_spelling_of_a_key_is_the_same_key(number):
    tonic, mode = CLASSES[number].split()
    names = [tonic, *(sharp for sharp, flat in SHARPS.items() if flat == tonic)]
    forms = {
        "major": ["{} major", "{}", "{}:maj", "{} Maj", "{}M", "{}_major"],
        "minor": ["{} minor", "{}m", "{}:min", "{} Min", "{}min", "{} MINOR"],
    }
    for name in names:
        spelled = [form.format(name) for form in forms[mode]]
        spelled += [form.format(name.lower()) for form in forms[mode] if form not in ("{}", "{}M")]
        spelled += [one.replace("#", "♯") for one in spelled] + [one.replace(name, _words(name)) for one in spelled[:1]]
        assert {text: parse_key(text) for text in spelled} == dict.fromkeys(spelled, number)
    assert int(Key().encode(CLASSES[number])) == number
    assert Key().encode(CLASSES[number]).dtype == np.int64


def _words(name: str) -> str:
    return name.replace("#", " sharp").replace("b", " flat")


@pytest.mark.parametrize(
    ("text", "key"),
    [("Cb", "B major"), ("B# minor", "C minor"), ("Fbm", "E minor"), ("E#", "F major"), ("C## minor", "D minor")],
)
def test_rare_names_of_keys(text, key):
    assert CLASSES[parse_key(text)] == key


@pytest.mark.parametrize("text", ["", "c", "C dorian", "C/G", "C major / A minor", "none", "b", "5", None, 3.0])
def test_what_is_no_key_is_named(text):
    with pytest.raises(UserError, match="none of the 24 major and minor keys"):
        Key().encode(text)


@pytest.mark.parametrize(
    ("references", "message"), [([24], "class number 24"), ([-1], "class number -1"), ([0.5], "type float64")]
)
def test_broken_references_are_named(references, message):
    with pytest.raises(UserError, match=message):
        Key().score(np.eye(24)[:1], np.array(references))
