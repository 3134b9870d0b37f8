"""What the service answers: the entries of `predict`, typed by the kind of the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from experiments.inference.beat_files import details_of, summary_of
from experiments.inference.entries import DIGITS, entry_of, key_of, selected, windows_of
from experiments.inference.predictor import Predictor
from experiments.service.models import ServedModel
from experiments.tasks.base import Task
from experiments.tasks.tempo import TempoTask
from experiments.tempo.summary import tempo_summary
from models.prediction import Prediction
from models.selection import Selection

Scores = dict[str, float]
Kind = Literal["tags", "class", "values", "tempo", "beats"]


class AnswerPart(BaseModel):
    """A part of an answer, in which nothing is left out: what is not known is null."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Answer(AnswerPart):
    """What is predicted of a file."""

    model: str = Field(description="Name of the model", examples=["tags"])
    seconds: float = Field(description="Length of the audio that was decoded", examples=[30.02])
    notes: list[str] = Field(description="What to know of the file, as that a part is damaged", examples=[[]])


class SelectionRule(AnswerPart):
    """By which rule classes are selected."""

    rule: Literal["thresholds", "top", "argmax"] = Field(
        description="thresholds: those that reach them; top: the most probable ones; argmax: the most probable one",
        examples=["thresholds"],
    )
    source: str = Field(description="What set the rule", examples=["fitted on validation, 1,823 tracks"])
    below_thresholds: bool | None = Field(
        None,
        description="Whether no tag reaches its threshold; then the most probable one is selected",
        examples=[False],
    )
    thresholds: Scores | None = Field(
        None, description="From which probability on each tag is selected", examples=[{"guitar": 0.31, "slow": 0.22}]
    )
    tag_set: str = Field(description="What the set of classes is called", examples=["magnatagatune top 50"])
    weights: str = Field(description="What the weights are known by", examples=["sha256 0123456789abcdef"])


class ScoresOfWindow(AnswerPart):
    """Classes, or values, of a window."""

    seconds: float = Field(description="Its start", examples=[0.0])
    values: Scores = Field(description="By name, those of the whole file", examples=[{"guitar": 0.87, "slow": 0.12}])


class ClassesAnswer(Answer):
    """Tags, or classes that exclude each other."""

    kind: Literal["tags", "class"] = Field(description="class: exactly one of them holds", examples=["tags"])
    selected: Scores = Field(description="Classes that hold, with their probabilities", examples=[{"guitar": 0.87}])
    selection: SelectionRule
    window_seconds: float = Field(description="Length of the windows", examples=[29.1])
    ranked: Scores = Field(
        description="Probabilities of the most probable classes, in falling order",
        examples=[{"guitar": 0.87, "slow": 0.12}],
    )
    over_time: list[ScoresOfWindow] | None = Field(None, description="The same of every window, where it is asked for")


class ValuesAnswer(Answer):
    """Values, such as arousal and valence."""

    kind: Literal["values"] = "values"
    window_seconds: float = Field(description="Length of the windows", examples=[29.1])
    values: Scores = Field(
        description="In the units of the training data", examples=[{"valence": 5.31, "arousal": 4.02}]
    )
    over_time: list[ScoresOfWindow] | None = Field(None, description="The same of every window, where it is asked for")


class TempoWindow(AnswerPart):
    """Tempo of a window."""

    seconds: tuple[float, float] = Field(description="Its start and its end", examples=[[0.0, 12.0]])
    tempo: float = Field(description="BPM", examples=[127.0])
    second_tempo: float = Field(description="The tempo that it might be instead, BPM", examples=[63.5])
    salience: float | None = Field(description="Share of the first of the two, 0 to 1", examples=[0.7])
    confidence: float | None = Field(description="How sure the network is, 0 to 1", examples=[0.8])


class TempoOfRecording(AnswerPart):
    """Tempo of a recording, BPM."""

    tempo: float = Field(description="BPM", examples=[127.13])
    second_tempo: float = Field(description="The tempo that it might be instead, BPM", examples=[63.57])
    salience: float | None = Field(description="Share of the first of the two, 0 to 1")
    confidence: float | None = Field(description="How sure the network is, 0 to 1")
    over_time: list[TempoWindow] | None = Field(None, description="The same of every window, where it is asked for")


class TempoAnswer(Answer):
    """Tempo."""

    kind: Literal["tempo"] = "tempo"
    tempo: TempoOfRecording
    window_seconds: float = Field(description="Length of the windows", examples=[11.9])
    ranked: Scores | None = Field(
        None, description="The most probable classes, where the network has classes", examples=[{"127": 0.4, "64": 0.2}]
    )
    values: Scores | None = Field(None, description="The values of the network, where it has values")


class Beat(AnswerPart):
    """A beat."""

    seconds: float = Field(description="Its time", examples=[0.52])
    position: int | None = Field(description="In its bar, 1 for a downbeat; null where it is not known", examples=[1])
    confidence: float = Field(description="Activation at the beat, 0 to 1", examples=[0.93])


class TempoPoint(AnswerPart):
    """Tempo at a time."""

    seconds: float = Field(description="The time", examples=[0.52])
    tempo: float = Field(description="BPM", examples=[119.8])


class Alternative(AnswerPart):
    """A tempo that it might be instead."""

    tempo: float = Field(description="BPM", examples=[60.0])
    score: float = Field(description="Log-likelihood relative to the beats of the answer", examples=[-12.5])


class Activations(AnswerPart):
    """The outputs of the network over time."""

    step_seconds: float = Field(description="From one step to the next", examples=[0.01])
    labels: list[str] = Field(description="Of the outputs", examples=[["beat", "downbeat"]])
    values: list[list[float]] = Field(description="[steps][labels]")


class BeatsAnswer(Answer):
    """Beats and downbeats."""

    kind: Literal["beats"] = "beats"
    tempo: float | None = Field(description="BPM; null where there are too few beats", examples=[120.0])
    metre: int | None = Field(description="Beats of a bar; null where it is not known", examples=[4])
    confidence: float | None = Field(description="Mean of that of the beats; null where there are none", examples=[0.9])
    beats: list[Beat] = Field(description="In the order of time")
    downbeats: list[float] = Field(description="Times, seconds", examples=[[0.52, 2.52]])
    tempo_curve: list[TempoPoint] = Field(description="The tempo over time")
    alternatives: list[Alternative] = Field(description="Half and double the tempo, where the decoder compares them")
    activations: Activations | None = Field(None, description="Where `over_time` is asked for")


AnyAnswer = ClassesAnswer | ValuesAnswer | TempoAnswer | BeatsAnswer


def kind_of(task: Task) -> Kind:
    """The kind of a task's answers."""
    if isinstance(task, TempoTask):
        return "tempo"
    return "beats" if task.kind == "events" else task.kind


def answer_type(model: ServedModel) -> type[Answer]:
    """What a model answers with."""
    types = {"tempo": TempoAnswer, "beats": BeatsAnswer, "values": ValuesAnswer}
    return types.get(kind_of(model.predictor.task), ClassesAnswer)


def answer_of(
    model: ServedModel,
    prediction: Prediction,
    seconds: float,
    notes: Sequence[str],
    selection: Selection | None,
    top: int,
    over_time: bool,
) -> Answer:
    """A prediction as it is answered.

    Args:
        model: That made it.
        prediction: Of a file.
        seconds: Length of the file.
        notes: On it.
        selection: Which classes are given; None where the task has none.
        top: Classes in the ranking.
        over_time: Whether windows, or activations, are wanted.
    """
    common = {"model": model.name, "seconds": round(seconds, 3), "notes": list(notes)}
    kind = answer_type(model)
    if kind is BeatsAnswer:
        return BeatsAnswer(**{**_beats(prediction, over_time), **common})
    entry = entry_of(replace(prediction, selection=selection), top)
    names = list(entry[key_of(prediction.kind)])
    windows = windows_of(prediction, names) if over_time else None
    entry["over_time"] = windows and [ScoresOfWindow(seconds=start, values=values) for start, values in windows]
    if kind is TempoAnswer:
        return TempoAnswer(**{**entry, "tempo": _tempo(model.predictor, prediction, over_time), **common})
    if kind is ValuesAnswer:
        return ValuesAnswer(**entry, **common)
    about = {"tag_set": model.tag_set, "weights": model.encoder.weights}
    chosen = selected(np.reshape(prediction.whole, -1).astype(np.float64), prediction.labels, selection, about)
    return ClassesAnswer(kind=model.predictor.task.kind, **chosen, **entry, **common)


def _beats(prediction: Prediction, over_time: bool) -> dict[str, Any]:
    summary, details = summary_of("", prediction), details_of(prediction)
    found = {key: summary[key] for key in ("tempo", "metre", "confidence")} | details
    if over_time:
        values = np.round(np.asarray(prediction.over_time, np.float64), DIGITS).tolist()
        found["activations"] = {
            "step_seconds": prediction.window,
            "labels": list(prediction.labels),
            "values": values,
        }
    return found


def _tempo(predictor: Predictor, prediction: Prediction, over_time: bool) -> dict[str, Any]:
    found = tempo_summary(predictor.task, prediction, *predictor.tempi)
    return found if over_time else {**found, "over_time": None}
