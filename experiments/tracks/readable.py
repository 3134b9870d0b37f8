"""Which annotations a task can read, which of them are plausible, and which other tasks a table could serve.

An annotation that a task cannot read (a key, a number, several genres where one is expected) is refused with the name
of its track, or left out with `datamodule.unknown_labels=drop`; other tasks do not mind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from datasets.corpus import Corpus, Track
from datasets.corpus_audit import Case, Finding
from datasets.text import enumerated, pluralize, shown
from experiments.errors import UserError
from experiments.tasks import TASKS
from experiments.tasks.base import Task, annotated
from experiments.tracks.annotations import tasks_of


def unreadable(task: Task, tracks: Iterable[Track]) -> dict[str, str]:
    """Tracks whose annotation the task cannot read: id -> why."""
    reasons = ((track.id, _refusal(task, value)) for track, value in _values(task.annotations, tracks))
    return {identity: why for identity, why in reasons if why}


def any_readable(task: Task, corpus: Corpus) -> bool:
    """Whether the task can read the annotation of a track."""
    return any(not _refusal(task, value) for _, value in _values(task.annotations, corpus))


def drop_unreadable(corpus: Corpus, task: Task) -> Corpus:
    """Leave out the annotations that a task without a vocabulary cannot read; adds a note.

    Raises:
        UserError: Nothing would be left.
    """
    kept = _drop(corpus, task.annotations, lambda value: bool(_refusal(task, value)))
    if kept is not corpus and not any_readable(task, kept):
        raise none_readable(task, corpus)
    return kept


def has_several(annotation: str, value: Any) -> bool:
    """Whether an annotation that is one label holds several."""
    return annotation == "genre" and isinstance(value, tuple) and len(value) != 1


def drop_several(corpus: Corpus, annotation: str) -> Corpus:
    """Leave out the annotations that are one label and hold several; adds a note."""
    return _drop(corpus, (annotation,), lambda value: has_several(annotation, value))


def _drop(corpus: Corpus, annotations: Sequence[str], refused: Callable[[Any], bool]) -> Corpus:
    dropped = {track.id: value for track, value in _values(annotations, corpus) if refused(value)}
    if not dropped:
        return corpus
    tracks = tuple(
        replace(track, annotations={name: one for name, one in track.annotations.items() if name not in annotations})
        if track.id in dropped
        else track
        for track in corpus
    )
    listed = enumerated(f"{value} ({identity})" for identity, value in dropped.items())
    note = (
        f"datamodule.unknown_labels=drop leaves out {pluralize(len(dropped), 'track')} without a readable "
        f"{' and '.join(annotations)}: {listed}"
    )
    return replace(corpus, tracks=tracks, notes=(*corpus.notes, note))


def none_readable(task: Task, corpus: Corpus) -> UserError:
    """The error for a corpus of whose annotations a task can read none."""
    first, why = next(iter(unreadable(task, corpus).items()))
    what, count = " and ".join(task.annotations), len(corpus.annotated(*task.annotations))
    have = f"none of {pluralize(count, 'track')} with {what} has one that can be read"
    return UserError(f"{task.name}: {have}; {first}: {why}{other_tasks_hint(corpus, task.annotations)}")


def other_tasks_hint(corpus: Corpus, annotations: Sequence[str]) -> str:
    """How tasks about other annotations are chosen, as the end of a sentence; empty where the corpus serves none."""
    present = set(corpus.annotations) - set(annotations)
    others = [task for task in tasks_of("auto", corpus) if present.issuperset(TASKS[task].annotations)]
    if not others:
        return ""
    return f", or choose another task: datamodule.task={others[0]}, for probes probe.tasks=[{','.join(others)}]"


def implausible(task: Task, corpus: Corpus) -> list[Finding]:
    """What is implausible about the values that a task is about, among those that it can read."""
    values = [(track, value) for track, value in _values(task.annotations, corpus) if not _refusal(task, value)]
    return [
        Finding(
            f"implausible {' and '.join(task.annotations)}",
            f"{pluralize(len(numbers), 'track has', 'tracks have')} {what}",
            tuple(case(*values[number]) for number in numbers),
        )
        for what, numbers in task.implausible([value for _, value in values]).items()
    ]


def case(track: Track, value: Any) -> Case:
    """A track and how it is annotated."""
    values = value if isinstance(value, tuple) else (value,)
    return Case(
        track.id, track.split, ", ".join(f"{one:g}" if isinstance(one, float) else shown(one) for one in values)
    )


def _values(annotations: Sequence[str], tracks: Iterable[Track]) -> list[tuple[Track, Any]]:
    """The annotated tracks, and what `Task.encode` takes of each."""
    pairs = ((track, annotated(annotations, track.annotations)) for track in tracks)
    return [(track, value) for track, value in pairs if value is not None]


def _refusal(task: Task, value: Any) -> str:
    """Why a task cannot read an annotation; empty where it can."""
    try:
        task.encode(value)
    except UserError as error:
        return str(error)
    return ""
