"""The tracks of every split with their annotations encoded, as training, tests and probes take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datasets.corpus import LABELS, SPLITS, Corpus, Track
from datasets.examples import Examples
from datasets.targets import Targets
from experiments.errors import UserError
from experiments.tasks.base import Task, annotated
from experiments.tracks.readable import any_readable, none_readable

CORPUS = "corpus"  # annotation: where a table holds several, which one a track is of


def examples(
    task: Task,
    corpus: Corpus,
    stored: Mapping[str, str],
) -> dict[str, Examples]:
    """Encode the annotations of every split; tracks without one are not among the examples.

    Args:
        task: Encodes annotations.
        corpus: Tracks and splits, all of them stored.
        stored: Their ids in the store.

    Raises:
        UserError: A label that is not among the task's classes, or an annotation that cannot be read.
    """
    made = {}
    for split in SPLITS:
        tracks = [track for track in corpus.split(split) if annotated(task.annotations, track.annotations) is not None]
        made[split] = Examples(
            tuple(track.id for track in tracks),
            tuple(stored[track.id] for track in tracks),
            _targets(task, tracks, corpus),
            task.kind,
            tuple(track.annotations.get(CORPUS, "") for track in tracks) if CORPUS in corpus.annotations else (),
        )
    return made


def _targets(task: Task, tracks: Sequence[Track], corpus: Corpus) -> Targets:
    """The targets of tracks; an error names the track whose annotation cannot be read."""
    values = [annotated(task.annotations, track.annotations) for track in tracks]
    try:
        return task.targets(values)
    except UserError:
        if task.annotations[0] not in LABELS and not any_readable(task, corpus):
            raise none_readable(task, corpus) from None
    for track, value in zip(tracks, values, strict=True):
        try:
            task.targets([value])
        except UserError as error:
            whose = "The classes are those of the network or of datamodule.labels: " * ("classes" in task.options)
            raise UserError(
                f"{track.id} ({track.split}): {error}. {whose}leave such labels out (datamodule.unknown_labels=drop)"
                + ", or train with them" * bool(whose)
            ) from None
    return task.targets(values)
