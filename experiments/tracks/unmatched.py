"""Tracks that an experiment cannot use: labelled and not stored, stored and not labelled, or without the annotation.

They are counted, listed in a file of the run, and are an error above the share `datamodule.max_unmatched`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.corpus import Corpus
from datasets.csv_writing import TableWriter
from datasets.matching import match_tracks
from datasets.text import enumerated, pluralize
from experiments.errors import UserError
from experiments.messages import say
from experiments.tasks.base import Task, annotated
from experiments.tracking import RunHandle

LISTED = "unmatched.csv"
SHOWN = 3


def match(
    corpus: Corpus,
    stored: Sequence[str],
    where: Path | str,
    max_unmatched: float = 1.0,
    run: RunHandle | None = None,
) -> tuple[Corpus, Mapping[str, str]]:
    """Pair a corpus with what is stored, and report the tracks that have no partner.

    Args:
        corpus: Labelled tracks.
        stored: Ids of tracks with features.
        where: The features, for messages.
        max_unmatched: The share that may have no partner, of the labelled and of the stored tracks.
        run: Gets the list; None: nobody.

    Returns:
        The tracks that are stored, and their stored ids.

    Raises:
        CorpusError: No track has a partner.
        UserError: More have none than may.
    """
    matched = match_tracks([track.id for track in corpus], list(stored))
    unmatched = (
        (matched.without_audio, f"labelled but not in {where}", len(corpus)),
        (matched.without_labels, f"without labels in {where}", len(stored)),
    )
    _report(unmatched, LISTED, max_unmatched, run)
    if matched.other_case:
        differing = pluralize(len(matched.other_case), "path differs", "paths differ")
        say(f"{differing} in case only from what is stored: {enumerated(matched.other_case, SHOWN)}")
    return corpus.only(matched.stored), matched.stored


def report_unannotated(task: Task, corpus: Corpus, max_unmatched: float = 1.0, run: RunHandle | None = None) -> None:
    """Report which tracks of a corpus a task cannot use because nobody annotated them.

    Args:
        task: It needs all of its annotations.
        corpus: Tracks with features.
        max_unmatched: The share of them that may lack an annotation.
        run: Gets the list; None: nobody.

    Raises:
        UserError: More lack one than may.
    """
    without = [track.id for track in corpus if annotated(task.annotations, track.annotations) is None]
    what = f"without {' and '.join(task.annotations)} (task {task.name})"
    file = f"unmatched_{task.name}.csv"
    _report([(without, what, len(corpus))], file, max_unmatched, run, corpus.unreadable)


def _report(
    unmatched: Sequence[tuple[Sequence[str], str, int]],
    file: str,
    max_unmatched: float,
    run: RunHandle | None,
    reasons: Mapping[str, str] | None = None,
) -> None:
    """Say and list which tracks are not used, what they are, and out of how many; refuse too many.

    The list has the reason of a track where there is one.
    """
    for tracks, what, _ in unmatched:
        if tracks:
            few = ", ".join(tracks[:SHOWN]) + (", ..." if len(tracks) > SHOWN else "")
            say(f"{pluralize(len(tracks), 'track is', 'tracks are')} {what} and not used: {few}")
    listed = ""
    if run is not None and run.is_global_zero and any(tracks for tracks, _, _ in unmatched):
        path = run.directory / file
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = TableWriter(handle)
            writer.writerow(["track", "reason"])
            known = reasons or {}
            writer.writerows((one, known.get(one, what)) for tracks, what, _ in unmatched for one in tracks)
        run.add_artifact(path)
        listed = f"; all of them: {path}"
    for tracks, what, total in unmatched:
        if len(tracks) > max_unmatched * total:
            raise UserError(
                f"datamodule.max_unmatched={max_unmatched:g}: {len(tracks)} of {pluralize(total, 'track')} "
                f"({len(tracks) / total:.1%}) {'is' if len(tracks) == 1 else 'are'} {what}{listed}"
            )
