"""Answers hold any class, whatever it is called, and say of which kind they are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.service.answers import answer_of, kind_of
from experiments.service.models import ServedModel
from experiments.tasks import build
from models.prediction import Prediction
from models.selection import same_for_all

LABELS = ("seconds", "model", "values", "kind")  # fields of an answer


@pytest.fixture
def tagger() -> ServedModel:
    encoder, predictor = SimpleNamespace(weights="sha256 0"), SimpleNamespace(task=build("tagging", classes=LABELS))
    return ServedModel(encoder, predictor, {}, None, None, "tags", None)


def test_a_class_may_be_called_like_a_field(tagger):
    over_time = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]])
    prediction = Prediction(LABELS, "tags", np.array([0.0, 2.5]), 2.5, over_time, over_time.mean(0))
    selection = same_for_all(0.5, len(LABELS), "a test")
    answer = answer_of(tagger, prediction, 5.0, [], selection, len(LABELS), over_time=True).model_dump()
    assert (answer["model"], answer["seconds"], answer["kind"]) == ("tags", 5.0, "tags")
    assert answer["ranked"] == {"kind": 0.6, "values": 0.5, "model": 0.4, "seconds": 0.3}
    assert answer["selected"] == {"kind": 0.6, "values": 0.5}
    for start, scores, row in zip((0.0, 2.5), over_time, answer["over_time"], strict=True):
        assert row == {"seconds": start, "values": dict(zip(LABELS, scores, strict=True))}


@pytest.mark.parametrize(
    ("task", "kind"),
    [("key", "class"), ("emotion", "values"), ("beats", "beats"), ("tempo", "tempo")],
)
def test_a_task_has_the_kind_of_its_answers(task, kind):
    more = {"mean": [5.0, 5.0], "scale": [2.0, 2.0]} if task == "emotion" else {}
    assert kind_of(build(task, **more)) == kind
