"""Audio that nobody annotated: the student has the teacher's classes and learns the teacher's outputs alone.

What the teacher gives for a whole track stands for its annotation, so that tracks are split, drawn and evaluated as
usual; the loss is that of the teacher's outputs for each window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from datasets.corpus import ASSIGNED, GIVEN, Corpus, Track
from datasets.folders import folder_splits
from datasets.splits import hashed_split
from datasets.store import Store
from datasets.teachers import harden, probabilities
from datasets.text import enumerated, pluralize
from experiments.errors import UserError
from experiments.labels import read_labels
from experiments.messages import say
from experiments.settings import DistillationSettings, PretrainSettings
from experiments.tasks import Task, from_metadata
from experiments.tracks import annotations
from experiments.tracks.data import DataSource, is_annotated, say_notes
from experiments.training.distilling import TeacherOutputs, has_second_head, names_in, teacher_outputs


def teacher_alone(settings: PretrainSettings, store: Store | None) -> TeacherOutputs | None:
    """What a student learns of a store of logits where there are no annotations; None where there are some.

    Args:
        settings: Of the experiment.
        store: The logits; None: there is no teacher.

    Raises:
        UserError: Only annotations could do what the settings ask for.
    """
    if is_annotated(settings.datamodule):
        return None
    asked = settings.datamodule.groundtruth == annotations.TEACHER
    if store is None:
        if asked:
            raise UserError(
                f"datamodule.groundtruth={annotations.TEACHER}: no teacher is named; give its logits, "
                "distillation.logits=STORE (python ex_pretrain.py extract_logits makes one)"
            )
        return None
    _refuse_what_needs_annotations(settings)
    task = _task_of(settings, store)
    left_out = f"annotations left out (datamodule.groundtruth={annotations.TEACHER})"
    say(
        f"{left_out if asked else f'no annotations for {settings.datamodule.base_dir}'}: the student learns what the "
        f"teacher gives, {pluralize(len(task.classes), 'class')}, and its scores say how far it agrees with the teacher"
    )
    return teacher_outputs(settings, store, task)


def _refuse_what_needs_annotations(settings: PretrainSettings) -> None:
    distillation, usual = settings.distillation, DistillationSettings.model_fields["weight"].default
    without = "there are no annotations, and the student learns from the teacher alone"
    if distillation.weight not in (usual, 1):
        raise UserError(f"distillation.weight={distillation.weight}: {without}: leave it out")
    if has_second_head(settings.model):
        raise UserError(
            f"model.distilled_type=separated: {without}, so its first head would learn nothing: "
            "set model.distilled_type=mean"
        )
    if settings.datamodule.min_tracks:
        raise UserError(
            f"datamodule.min_tracks={settings.datamodule.min_tracks}: {without}; leave it out, or name the classes "
            "that count in datamodule.labels=FILE"
        )


def _task_of(settings: PretrainSettings, store: Store) -> Task:
    """The teacher's task, with the classes that the settings name."""
    producer, datamodule = store.header.producer or {}, settings.datamodule
    name = producer.get("task") or "tagging"
    if datamodule.task not in ("auto", name):
        raise UserError(
            f"datamodule.task={datamodule.task}: the teacher of distillation.logits={settings.distillation.logits} is "
            f"one of {name}, and there are no annotations: leave datamodule.task out"
        )
    task = from_metadata(name, list(producer["labels"]), producer.get("options"))
    if datamodule.labels and "classes" in task.options:
        return from_metadata(name, read_labels(datamodule.labels))
    return task


def annotate(settings: PretrainSettings, offered: TeacherOutputs, source: DataSource) -> Corpus:
    """The tracks of a source with what the teacher gives for them.

    Their splits are those of a table near the audio, or of `train` and `valid` folders, or follow a rule.

    Raises:
        UserError: The logits are of another corpus, or too few of its tracks have some.
    """
    distillation, ids = settings.distillation, list(source.features.ids)
    named = f"distillation.logits={distillation.logits}"
    names = names_in(offered.store, ids, named)
    if missing := [identity for identity in ids if identity not in names]:
        message = f"{len(missing)} of {pluralize(len(ids), 'track')} without teacher's logits: {enumerated(missing, 3)}"
        if len(missing) > distillation.max_missing * len(ids):
            raise UserError(
                f"{named}: {message}; that is more than distillation.max_missing={distillation.max_missing:g}: run "
                "extract_logits over these tracks again, or raise it"
            )
        say(f"{message}; they are left out")
    near = annotations.splits_near(settings.datamodule, source.base_dir, list(names))
    if near:
        say(f"splits of {near[0]}")
    given = near[1] if near else folder_splits(names)
    splits = given or {identity: hashed_split(identity) for identity in names}
    annotation, threshold = offered.task.annotations[0], distillation.threshold
    tracks = tuple(
        Track(identity, splits[identity], {annotation: _given(offered, name, threshold)})
        for identity, name in names.items()
    )
    corpus = Corpus(f"{source.name}, by its teacher", tracks, GIVEN if given else ASSIGNED)
    corpus = annotations.arrange(settings.datamodule.model_copy(update={"merge_spellings": False}), corpus)
    say_notes(corpus)
    return corpus


def _given(offered: TeacherOutputs, stored: str, threshold: float) -> Any:
    """What the teacher gives for a track, as a person would annotate it: names of tags, or of the one class."""
    task = offered.task
    logits = np.asarray(offered.store.read(stored))
    logits = logits if offered.columns is None else logits[:, list(offered.columns)]
    exclusive = task.kind == "class"
    chosen = harden(probabilities(logits, exclusive).mean(axis=0), threshold, exclusive)
    classes = [task.classes[number] for number in np.flatnonzero(chosen)]
    return classes[0] if exclusive else tuple(classes)
