"""Settings that select tags, and files of thresholds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from experiments.errors import UserError
from experiments.inference.selection import (
    network_words,
    read_thresholds,
    say_unfitted,
    selection_of,
    tag_set,
    write_thresholds,
)
from experiments.settings import InferenceSettings, PredictionSettings, PretrainSettings
from experiments.tasks import build
from models.published_taggers import MAGNATAGATUNE
from models.thresholds import Thresholds

TAGS = build("tagging", classes=["a", "b", "c"])
FITTED = Thresholds(("a", "b", "c"), (0.1, 0.7, 0.3), 0.3, "valid", 1234)


@pytest.mark.parametrize(
    ("given", "rule", "source", "numbers"),
    [
        ({}, "thresholds", "fitted on valid, 1,234 tracks", [2, 0]),
        ({"threshold": 0.6}, "thresholds", "inference.threshold=0.6", [1]),
        ({"top": 2}, "top", "inference.top=2", [1, 2]),
        ({"top": 9}, "top", "inference.top=9", [1, 2, 0]),
        ({"argmax": True}, "argmax", "inference.argmax=True", [1]),
    ],
)
def test_each_setting_is_a_rule(given, rule, source, numbers):
    found = selection_of(InferenceSettings(**given), TAGS, FITTED)
    assert (found.rule, found.source) == (rule, source)
    assert found.numbers(np.array([0.2, 0.65, 0.4])) == numbers


def test_without_thresholds_one_for_all_is_taken_and_that_is_said(capsys):
    found = selection_of(InferenceSettings(), TAGS, None)
    assert found.thresholds == (0.25,) * 3
    settings = PretrainSettings(inference={"checkpoint": "my best.ckpt"})
    say_unfitted(settings.inference, TAGS, None, network_words(settings))
    said = capsys.readouterr().err
    assert "no thresholds were fitted: a tag is given from a probability of 0.25 on" in said
    assert "evaluate with 'inference.checkpoint=my best.ckpt' inference.fit_thresholds=True datamodule.base_dir" in said
    say_unfitted(InferenceSettings(), TAGS, None)
    assert "evaluate" not in capsys.readouterr().err
    say_unfitted(InferenceSettings(top=3), TAGS, None)
    say_unfitted(InferenceSettings(), TAGS, FITTED)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        {"threshold": 0.2, "top": 3},
        {"argmax": True, "threshold": 0.0},
        {"thresholds": "x.json", "argmax": True},
        {"fit_thresholds": True, "threshold": 0.2},
    ],
)
def test_contradictions_are_refused(given):
    with pytest.raises(ValidationError, match="choose one"):
        InferenceSettings(**given)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(ValidationError):
        InferenceSettings(threshold=threshold)


def test_classes_that_exclude_each_other_have_no_thresholds():
    genre, tempo = build("genre", classes=["x", "y"]), build("tempo_regression", mean=[7.0], scale=[1.0])
    assert selection_of(InferenceSettings(top=2), genre, None).rule == "argmax"
    assert selection_of(InferenceSettings(), tempo, None) is None
    with pytest.raises(UserError, match=r"inference\.threshold is for tags; genre gives one class"):
        selection_of(InferenceSettings(threshold=0.3), genre, None)
    with pytest.raises(UserError, match=r"inference\.thresholds is for tags; tempo_regression gives values"):
        selection_of(InferenceSettings(thresholds="x"), tempo, None)


def test_a_file_is_read_as_it_was_written(tmp_path, capsys):
    file = tmp_path / "thresholds.json"
    write_thresholds(file, FITTED, {"weights": "sha256 1"})
    assert read_thresholds(str(file), FITTED.tags, "sha256 1") == FITTED
    assert capsys.readouterr().err == ""
    found = selection_of(InferenceSettings(thresholds=str(file)), TAGS, None, "sha256 2")
    assert (found.thresholds, found.source) == (FITTED.values, f"inference.thresholds={file}")
    assert "was fitted for other weights" in capsys.readouterr().err
    assert selection_of(PredictionSettings(thresholds=str(file)), TAGS, None).thresholds == FITTED.values


@pytest.mark.parametrize("join", ["mean", "max"])
def test_a_file_that_was_fitted_for_another_join_is_noticed(tmp_path, capsys, join):
    file = tmp_path / "thresholds.json"
    write_thresholds(file, FITTED, {"weights": "sha256 1", "join": "mean"})
    found = selection_of(InferenceSettings(thresholds=str(file), join=join), TAGS, None, "sha256 1")
    assert found.thresholds == FITTED.values
    said = capsys.readouterr().err
    assert ("fitted for inference.join=mean, the windows are joined by max" in said) == (join == "max")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("{", "is not readable JSON"),
        ("[1]", "holds a list, expected a JSON object"),
        ('{"values": [1]}', "has no list of names as tags"),
        (json.dumps({**FITTED.entry, "values": [0.1, float("nan"), 0.2]}), "the threshold nan for 'b'"),
        (json.dumps({**FITTED.entry, "tags": ["a", "x", "c"]}), "tag 1 is 'x' there, and 'b' in the network"),
    ],
)
def test_a_file_of_anything_else_is_an_error(tmp_path, text, message):
    file = tmp_path / "thresholds.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_thresholds(str(file), TAGS.classes)
    assert str(file) in str(caught.value)


def test_sets_of_tags_have_names():
    assert tag_set(MAGNATAGATUNE) == "magnatagatune top 50"
    assert tag_set(MAGNATAGATUNE[::-1]) == tag_set(list(MAGNATAGATUNE[::-1])) != tag_set(["a"])
