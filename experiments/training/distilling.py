"""From a store of logits to a teacher: which of its classes and tracks a student learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets.audio_checksums import replaced_audio
from datasets.csv_writing import write_table
from datasets.examples import Examples, require_nonempty
from datasets.matching import match_tracks
from datasets.store import Store, StoreError
from datasets.tables import CorpusError
from datasets.teachers import Rule, Teacher, read_logits
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.messages import say
from experiments.settings import DistillationSettings, ModelSettings, PretrainSettings
from experiments.tasks import TASKS, Task, from_metadata
from experiments.tracking import RunHandle
from experiments.tracks.data import DataSource

MAKE = "python ex_pretrain.py extract_logits makes one"
MOST_LISTED = 20


@dataclass(frozen=True)
class TeacherOutputs:
    """What a student learns of a store of logits.

    Attributes:
        store: The logits.
        task: What they mean, with the classes that are learned, in order.
        columns: Which logits these are; None for all as they are.
    """

    store: Store
    task: Task
    columns: tuple[int, ...] | None

    @property
    def second_head(self) -> int | None:
        """Outputs of a head of the teacher's own; None where there is one head for both."""
        return self.task.n_outputs if self.columns is None else None

    @property
    def description(self) -> dict[str, Any]:
        """What a student's checkpoint says of its teacher; plain values."""
        producer = self.store.header.producer or {}
        return {
            "logits": self.store.header.fingerprint,
            "weights": producer.get("weights") or "",
            **self.task.metadata,
        }


def has_second_head(model: ModelSettings) -> bool:
    """Whether the network has a head of its own for a teacher; not every network has the setting."""
    return getattr(model, "distilled_type", None) == "separated"


def open_logits(settings: PretrainSettings) -> Store | None:
    """Open the store that the settings name, before anything is computed; None where they name none.

    Raises:
        UserError: There is a second head and no store, or `datasets.teachers.read_logits` refuses it.
    """
    named = settings.distillation.logits
    if named is None:
        if has_second_head(settings.model):
            raise UserError(
                "model.distilled_type=separated: the second head learns from a teacher, and none is named; give the "
                f"logits of one, distillation.logits=STORE ({MAKE}), or set model.distilled_type=mean"
            )
        return None
    try:
        return read_logits(Path(named).expanduser())
    except StoreError as error:
        raise UserError(f"distillation.logits={named}: {error}; {MAKE}") from error


def taught_labels(settings: PretrainSettings, store: Store | None) -> tuple[str, ...]:
    """The labels that a student's only head learns from a teacher, whatever its annotations are."""
    if store is None or has_second_head(settings.model):
        return ()
    return tuple((store.header.producer or {})["labels"])


def teacher_outputs(settings: PretrainSettings, store: Store, task: Task) -> TeacherOutputs:
    """Choose what a student learns from a store.

    A second head learns all of the teacher's classes. A single head learns from both: it learns the classes it has,
    found by name.

    Args:
        settings: Of the experiment.
        store: What `open_logits` gave.
        task: Of the student.

    Raises:
        UserError: One head cannot learn from both; or the targets of one are values, or vary over time.
    """
    producer = store.header.producer or {}
    labels, kind = list(producer["labels"]), producer.get("task") or task.name
    named = f"distillation.logits={settings.distillation.logits}"
    teacher_task = from_metadata(kind, labels, producer.get("options"))
    if teacher_task.kind == "values":
        others = ", ".join(name for name, one in TASKS.items() if one.clip_level and one.kind != "values")
        raise UserError(
            f"{named}: a teacher of {kind} gives values, and a student learns classes only; train on the annotations "
            f"alone, or name the logits of a teacher of {others}"
        )
    for whose, one in (("the student's", task), ("the teacher's", teacher_task)):
        if not one.clip_level:
            raise UserError(
                f"{named}: {whose} task {one.name} has targets that vary over time, and logits are one vector a "
                "window; leave distillation.logits out and train on the annotations alone"
            )
    if has_second_head(settings.model):
        return TeacherOutputs(store, teacher_task, None)
    of_maest = "" if "distilled_type" in type(settings.model).model_fields else "model.network=maest "
    own_head = f"give the teacher a head of its own, {of_maest}model.distilled_type=separated"
    if teacher_task.name != task.name:
        raise UserError(f"{named}: logits of the task {kind}, the student's is {task.name}; {own_head}")
    number = {label: column for column, label in enumerate(labels)}
    missing = [label for label in task.classes if label not in number]
    if missing:
        raise UserError(
            f"{named}: the teacher lacks {len(missing)} of the student's "
            f"{pluralize(len(task.classes), 'class')} "
            f"({_listed(missing)}; it has {_listed(labels, 3)}); {own_head}, or name the classes of both in "
            f"datamodule.labels=FILE, or, if the teacher's are numbered, in inference.labels=FILE when extracting"
        )
    unused = [label for label in labels if label not in task.classes]
    if unused and task.kind == "class":
        raise UserError(
            f"{named}: the teacher chooses among {pluralize(len(unused), 'class')} that the student has not: "
            f"{_listed(unused)}; {own_head}"
        )
    if unused:
        say(
            f"the student does not have {len(unused)} of the teacher's {pluralize(len(labels), 'class')}: "
            f"{_listed(unused, 3)}"
        )
    return TeacherOutputs(store, task, tuple(number[label] for label in task.classes))


def make_teacher(
    settings: PretrainSettings,
    offered: TeacherOutputs,
    splits: Mapping[str, Examples],
    source: DataSource,
    run: RunHandle,
) -> tuple[Teacher, dict[str, Examples]]:
    """Make the teacher of a training, and leave out the training tracks without logits.

    Returns:
        The teacher, and the splits: validation and test as they were, since they are evaluated by the annotations.

    Raises:
        UserError: The logits are of another corpus, or too few of its tracks have some.
    """
    distillation, store = settings.distillation, offered.store
    named = f"distillation.logits={distillation.logits}"
    stored = [*splits["train"].stored, *splits["valid"].stored]
    names = names_in(store, stored, named)
    other = replaced_audio(store, source.features, names) if isinstance(source.features, Store) else set()
    renamed = {identity: name for identity, name in names.items() if name != identity}
    without = [identity for identity in stored if identity not in names or identity in other]
    producer = store.header.producer or {}
    rate = source.frontend.frame_rate / (producer.get("frame_rate") or source.frontend.frame_rate)
    teacher = Teacher(
        store,
        rule_of(distillation, offered.task),
        producer["window_frames"] * rate,
        producer["hop_frames"] * rate,
        offered.columns,
        renamed,
        without,
    )
    kept = _with_logits(splits["train"], teacher)
    left_out = len(splits["train"]) - len(kept)
    if left_out:
        _report_missing(named, distillation, splits, without, other, run)
    run.set_info(
        distillation={
            **offered.description,
            "labels": len(offered.task.classes),
            "store": str(store.path),
            "without_logits": left_out,
        }
    )
    say(f"teacher: {store.path}, {pluralize(len(offered.task.classes), 'class')}, {distillation.targets} targets")
    with_logits = {**splits, "train": kept}
    require_nonempty(with_logits, "train")
    return teacher, with_logits


def names_in(store: Store, stored: Sequence[str], named: str) -> Mapping[str, str]:
    """Ids in a store of logits by the student's ids of its tracks.

    Args:
        store: The logits.
        stored: Ids of the student's tracks.
        named: The setting that names the store, for messages.

    Raises:
        UserError: None of the tracks is in it.
    """
    try:
        return match_tracks(stored, store.ids).stored
    except CorpusError:
        raise UserError(
            f"{named}: logits of another corpus: none of {len(stored)} tracks ({stored[0]!r}, ...) is among its "
            f"{len(store)} ({store.ids[0]!r}, ...); run extract_logits with this datamodule.base_dir"
        ) from None


def rule_of(distillation: DistillationSettings, task: Task) -> Rule:
    """How the settings make targets of logits of a task."""
    return Rule(
        soft=distillation.targets == "soft",
        threshold=distillation.threshold,
        temperature=distillation.temperature,
        exclusive=task.kind == "class",
        window=distillation.window,
    )


def _with_logits(examples: Examples, teacher: Teacher) -> Examples:
    keep = np.array([identity in teacher for identity in examples.stored], bool)
    if keep.all():
        return examples
    picked = np.flatnonzero(keep)
    return replace(
        examples,
        ids=tuple(examples.ids[number] for number in picked),
        stored=tuple(examples.stored[number] for number in picked),
        crops=examples.targets[picked],
    )


def _report_missing(
    named: str,
    distillation: DistillationSettings,
    splits: Mapping[str, Examples],
    without: Sequence[str],
    other: set[str],
    run: RunHandle,
) -> None:
    """List the tracks without logits; too many of them are an error."""
    missing = set(without)
    train = [identity for identity in splits["train"].stored if identity in missing]
    total = len(splits["train"])
    if run.is_global_zero:
        table = run.directory / "without_logits.csv"
        rows = [(one, split) for split in ("train", "valid") for one in splits[split].stored if one in missing]
        reasons = ("other audio" if one in other else "no logits" for one, _ in rows)
        write_table(table, ["track", "split", "reason"], ((*row, why) for row, why in zip(rows, reasons, strict=True)))
        run.add_artifact(table)
    replaced = sum(identity in other for identity in train)
    why = f", {replaced} of them because the audio was replaced since" if replaced else ""
    message = f"{len(train)} of {pluralize(total, 'training track')} without teacher's logits{why}: {_listed(train, 3)}"
    if len(train) > distillation.max_missing * total:
        raise UserError(
            f"{named}: {message}; that is more than distillation.max_missing={distillation.max_missing:g}: run "
            f"extract_logits over these tracks again, or raise it; all are in {run.directory / 'without_logits.csv'}"
        )
    say(f"{message}; they are left out, see {run.directory / 'without_logits.csv'}")


def _listed(names: Sequence[str], most: int = MOST_LISTED) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
