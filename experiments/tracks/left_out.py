"""Tracks that stay out of an experiment: labelled and not stored, stored and not labelled, without the annotation.

They are counted, listed in a file of the run, and are an error above the share `datamodule.max_left_out`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.corpus import Corpus
from datasets.csv_writing import TableWriter
from datasets.matching import Match, match_tracks
from datasets.text import pluralize
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tasks.base import Task, annotated
from experiments.tracking import RunHandle
from experiments.tracks.annotations import shown
from experiments.tracks.data import say

LISTED = "left_out.csv"
SHOWN = 3


def match(
    corpus: Corpus,
    stored: Sequence[str],
    where: Path | str,
    settings: DatamoduleSettings | None = None,
    run: RunHandle | None = None,
) -> tuple[Corpus, Mapping[str, str]]:
    """Pair a corpus with what is stored, and say what stays alone.

    Args:
        corpus: Labelled tracks.
        stored: Ids of tracks with features.
        where: The features, for messages.
        settings: What share may stay alone; None: any.
        run: Gets the list; None: nobody.

    Returns:
        The tracks that are stored, and their stored ids.

    Raises:
        CorpusError: Nothing pairs.
        UserError: More tracks stay alone than may.
    """
    matched = match_tracks([track.id for track in corpus], list(stored))
    found = (
        (matched.without_audio, f"labelled but not in {where}", len(corpus)),
        (matched.without_labels, f"without labels in {where}", len(stored)),
    )
    _tell(found, LISTED, settings, run)
    if matched.other_case:
        say(f"{other_case(matched)}: {shown(matched.other_case, SHOWN)}")
    return corpus.only(matched.stored), matched.stored


def other_case(matched: Match) -> str:
    """What to say of tracks that were paired without regard to case."""
    count = len(matched.other_case)
    return f"{pluralize(count, 'path differs', 'paths differ')} in case only from what is stored"


def tell_unannotated(
    task: Task, corpus: Corpus, settings: DatamoduleSettings | None = None, run: RunHandle | None = None
) -> None:
    """Say which tracks of a corpus a task cannot use since nobody annotated them.

    Args:
        task: It needs all of its annotations.
        corpus: Tracks with features.
        settings: What share may lack them; None: any.
        run: Gets the list; None: nobody.

    Raises:
        UserError: More lack them than may.
    """
    alone = [track.id for track in corpus if annotated(task.annotations, track.annotations) is None]
    what = f"without {' and '.join(task.annotations)} (task {task.name})"
    _tell([(alone, what, len(corpus))], f"left_out_{task.name}.csv", settings, run)


def _tell(
    found: Sequence[tuple[Sequence[str], str, int]],
    file: str,
    settings: DatamoduleSettings | None,
    run: RunHandle | None,
) -> None:
    """Say, list and judge tracks that are left out: which, what they are, out of how many."""
    for alone, what, _ in found:
        if alone:
            few = ", ".join(alone[:SHOWN]) + (", ..." if len(alone) > SHOWN else "")
            say(f"{pluralize(len(alone), 'track is', 'tracks are')} {what} and left out: {few}")
    listed = ""
    if run is not None and run.is_global_zero and any(alone for alone, _, _ in found):
        path = run.directory / file
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = TableWriter(handle)
            writer.writerow(["track", "reason"])
            writer.writerows((identity, what) for alone, what, _ in found for identity in alone)
        run.add_artifact(path)
        listed = f"; all of them: {path}"
    for alone, what, whole in found:
        if settings is not None and len(alone) > settings.max_left_out * whole:
            raise UserError(
                f"datamodule.max_left_out={settings.max_left_out:g}: {len(alone)} of {pluralize(whole, 'track')} "
                f"({len(alone) / whole:.1%}) {'is' if len(alone) == 1 else 'are'} {what}{listed}"
            )
