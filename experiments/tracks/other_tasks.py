"""What a table holds for other tasks than the one that would be trained, and what would spoil those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from datasets.corpus import LABELS, SPLITS, Corpus, CorpusError, Track
from datasets.corpus_audit import Case, Finding
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tasks import Task, find
from experiments.tracks.annotations import tasks_of
from experiments.tracks.data import prepare_task
from experiments.tracks.readable import case, doubts, unreadable


def readings(task: Task, corpus: Corpus) -> list[Finding]:
    """Tracks whose annotation the task cannot read, or should not believe."""
    what = " and ".join(task.annotations)
    refused = unreadable(task, corpus) if "classes" not in task.options else {}
    said = f"a {what} that cannot be read, which a training refuses (or datamodule.unknown_labels=drop)"
    found = []
    if refused:
        if len(refused) == len(corpus.annotated(*task.annotations)):
            said = f"a {what} that cannot be read, and none has another: {next(iter(refused.values()))}"
        tracks = [track for track in corpus if track.id in refused]
        cases = tuple(case(track, tuple(track.annotations[one] for one in task.annotations)) for track in tracks)
        said = pluralize(len(cases), f"track has {said}", f"tracks have {said}")
        found.append(Finding("unreadable", said, cases, True))
    return found + doubts(task, corpus)


def empty_splits(corpus: Corpus, what: str = "") -> Finding:
    """Splits without a track."""
    empty = [split for split in SPLITS if not corpus.split(split)]
    said = pluralize(len(empty), f"split has no track{what}", f"splits have no track{what}")
    return Finding("empty split", said, tuple(map(Case, empty)), True)


def other_tasks(settings: DatamoduleSettings, corpus: Corpus, main: Task) -> list[Finding]:
    """What would spoil the other tasks that the tracks are annotated for, as probes would ask them.

    Args:
        settings: Which labels count; where they are listed, the list is that of the main task.
        corpus: Tracks with features.
        main: The task that is reported on already.
    """
    found = []
    for name in tasks_of("auto", corpus):
        kind = find(name)
        there = set(kind.annotations) <= set(corpus.annotations)
        if kind.annotations == main.annotations or not there or (settings.labels and kind.annotations[0] in LABELS):
            continue
        what = " and ".join(kind.annotations)
        try:
            chosen, task = prepare_task(settings, corpus, name)
            used = chosen.annotated(*kind.annotations)
        except (UserError, CorpusError) as error:
            found.append(Finding(f"no {name}", f"1 task cannot be asked of these tracks: {error}", (Case(what),), True))
            continue
        without = tuple(Case(track.id, track.split) for track in corpus if not _has(track, kind.annotations))
        said = f"without {what} and left out where that is asked for"
        of_task = [
            empty_splits(used, f" with {what}"),
            *readings(task, used),
            Finding("not annotated", pluralize(len(without), f"track is {said}", f"tracks are {said}"), without),
        ]
        found += [replace(one, kind=f"{one.kind} {name}") for one in of_task if one.cases]
    return found


def _has(track: Track, annotations: Sequence[str]) -> bool:
    return all(name in track.annotations for name in annotations)
