"""Findings on what tasks can read: the task that would be trained, and the others that a table serves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from datasets.columns import option
from datasets.corpus import LABELS, SPLITS, Corpus, CorpusError
from datasets.corpus_audit import Case, Finding
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tasks import TASKS, Task, find
from experiments.tasks.base import annotated
from experiments.tracks.annotations import tasks_of
from experiments.tracks.data import prepare_task
from experiments.tracks.readable import case, has_several, implausible, unreadable


def readings(task: Task, corpus: Corpus, genre_column: str) -> list[Finding]:
    """Tracks whose annotation the task cannot read, or that is implausible."""
    what = " and ".join(task.annotations)
    if task.annotations[0] in LABELS:  # labels that are not among the classes have a finding of their own
        several = {track.id for track in corpus if has_several(what, track.annotations.get(what))}
        return [_unreadable(several, corpus, task, f"several values as {what}, {_as_tags(genre_column)}")]
    refused = unreadable(task, corpus)
    problem = f"a {what} that cannot be read, which a training refuses (or datamodule.unknown_labels=drop)"
    if refused and len(refused) == len(corpus.annotated(*task.annotations)):
        problem = f"a {what} that cannot be read, and none has another: {next(iter(refused.values()))}"
    return [_unreadable(refused, corpus, task, problem), *implausible(task, corpus)]


def _unreadable(ids: Collection[str], corpus: Corpus, task: Task, problem: str) -> Finding:
    tracks = [track for track in corpus if track.id in ids]
    cases = tuple(case(track, annotated(task.annotations, track.annotations)) for track in tracks)
    return Finding("unreadable", pluralize(len(cases), f"track has {problem}", f"tracks have {problem}"), cases, True)


def _as_tags(column: str) -> str:
    return f"which a training refuses; {option('columns.tags', column)} reads them as tags"


def unreadable_ids(findings: Sequence[Finding], annotation: str) -> set[str]:
    """Tracks of the findings of `other_tasks` whose annotation the task about it cannot read."""
    kinds = {f"unreadable {name}" for name, kind in TASKS.items() if annotation in kind.annotations}
    return {one.track for finding in findings if finding.kind in kinds for one in finding.cases}


def empty_splits(corpus: Corpus, what: str = "") -> Finding:
    """Splits without a track."""
    empty = [split for split in SPLITS if not corpus.split(split)]
    sentence = pluralize(len(empty), f"split has no track{what}", f"splits have no track{what}")
    return Finding("empty split", sentence, tuple(map(Case, empty)), True)


def other_tasks(settings: DatamoduleSettings, corpus: Corpus, main: Task) -> list[Finding]:
    """Findings on the other tasks that the tracks are annotated for, as probes would solve them.

    Args:
        settings: Which labels count; where they are listed, the list is that of the main task.
        corpus: Tracks with features.
        main: The task that is reported on already.
    """
    found = []
    for name in tasks_of("auto", corpus):
        kind = find(name)
        complete = set(kind.annotations) <= set(corpus.annotations)
        if kind.annotations == main.annotations or not complete or (settings.labels and kind.annotations[0] in LABELS):
            continue
        what = " and ".join(kind.annotations)
        try:
            chosen, task = prepare_task(settings, corpus, name)
            used = chosen.annotated(*kind.annotations)
        except (UserError, CorpusError) as error:
            problem = f"1 task cannot be solved with these tracks: {error}"
            found.append(Finding(f"no {name}", problem, (Case(what),), True))
            continue
        without = tuple(
            Case(track.id, track.split) for track in corpus if annotated(kind.annotations, track.annotations) is None
        )
        unused = f"without {what} and not used for that task"
        of_task = [
            empty_splits(used, f" with {what}"),
            *readings(task, used, settings.columns.genre),
            Finding("not annotated", pluralize(len(without), f"track is {unused}", f"tracks are {unused}"), without),
        ]
        found += [replace(one, kind=f"{one.kind} {name}") for one in of_task if one.cases]
    return found
