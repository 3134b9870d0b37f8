"""Which annotations a task can read, which of them are plausible, and what else a table could serve."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from datasets.corpus import Corpus, Track
from datasets.corpus_audit import Case, Finding
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tasks import TASKS
from experiments.tasks.base import Task, annotated
from experiments.tracks.annotations import shown, tasks_of


def unreadable(task: Task, tracks: Iterable[Track]) -> dict[str, str]:
    """Tracks whose annotation the task cannot read: id -> why."""
    found = {}
    for track in tracks:
        value = annotated(task.annotations, track.annotations)
        if value is not None and (why := _refusal(task, value)):
            found[track.id] = why
    return found


def any_readable(task: Task, corpus: Corpus) -> bool:
    """Whether the task can read the annotation of a track."""
    values = (annotated(task.annotations, track.annotations) for track in corpus)
    return any(value is not None and not _refusal(task, value) for value in values)


def drop_unreadable(settings: DatamoduleSettings, corpus: Corpus, task: Task) -> Corpus:
    """Leave annotations out that a task without a vocabulary cannot read, where the settings say so; adds a note.

    Raises:
        UserError: Nothing would be left.
    """
    if settings.unknown_labels == "refuse":
        return corpus
    tracks, dropped, read = [], [], 0
    for track in corpus:
        value = annotated(task.annotations, track.annotations)
        if value is not None and _refusal(task, value):
            dropped.append(f"{value} ({track.id})")
            rest = {name: one for name, one in track.annotations.items() if name not in task.annotations}
            track = replace(track, annotations=rest)
        elif value is not None:
            read += 1
        tracks.append(track)
    if not dropped:
        return corpus
    if not read:
        raise none_readable(task, corpus)
    what = " and ".join(task.annotations)
    left = pluralize(len(dropped), "track")
    note = f"datamodule.unknown_labels=drop leaves out {left} without a readable {what}: {shown(dropped)}"
    return replace(corpus, tracks=tuple(tracks), notes=(*corpus.notes, note))


def none_readable(task: Task, corpus: Corpus) -> UserError:
    """The error for a corpus of whose annotations a task can read none."""
    first, why = next(iter(unreadable(task, corpus).items()))
    what, count = " and ".join(task.annotations), len(corpus.annotated(*task.annotations))
    have = f"none of {pluralize(count, 'track')} with {what} has one that can be read"
    return UserError(f"{task.name}: {have}; {first}: {why}{instead(corpus, task.name)}")


def instead(corpus: Corpus, name: str) -> str:
    """How other tasks than this one are asked for, as the end of a sentence; empty where the corpus serves none."""
    there = set(corpus.annotations) - set(TASKS[name].annotations)
    others = [task for task in tasks_of("auto", corpus) if there.issuperset(TASKS[task].annotations)]
    if not others:
        return ""
    return f", or ask for another task: datamodule.task={others[0]}, for probes probe.tasks=[{','.join(others)}]"


def doubts(task: Task, corpus: Corpus) -> list[Finding]:
    """What is implausible about the values that a task is about, among those that it can read."""
    found = [(track, annotated(task.annotations, track.annotations)) for track in corpus]
    found = [(track, value) for track, value in found if value is not None and not _refusal(task, value)]
    return [
        Finding(
            f"implausible {' and '.join(task.annotations)}",
            f"{pluralize(len(numbers), 'track has', 'tracks have')} {said}",
            tuple(case(found[number][0], found[number][1]) for number in numbers),
        )
        for said, numbers in task.implausible([value for _, value in found]).items()
    ]


def case(track: Track, value: Any) -> Case:
    """A track and what is written of it."""
    values = value if isinstance(value, tuple) else (value,)
    return Case(track.id, track.split, ", ".join(f"{one:g}" if isinstance(one, float) else repr(one) for one in values))


def _refusal(task: Task, value: Any) -> str:
    """Why a task cannot read an annotation; empty where it can."""
    try:
        task.encode(value)
    except UserError as error:
        return str(error)
    return ""
