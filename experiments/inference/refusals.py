"""Files that are not predicted although the network could see them, and what is said of those that are."""

from __future__ import annotations

from experiments.errors import UserError
from experiments.tasks.base import Task
from experiments.tasks.tempo import TempoTask
from experiments.tempo.summary import NO_ONSETS, check_duration, no_onsets
from preprocess.tracks import DecodedTrack

SILENT = "silent"  # how preprocess begins to say why nothing is decoded


def refused(task: Task, outcome: DecodedTrack | str) -> str:
    """Why a file is not predicted; empty where it is.

    Args:
        task: What is predicted.
        outcome: What was decoded of the file, or why nothing was.
    """
    rhythmic = task.kind == "events" or isinstance(task, TempoTask)
    if isinstance(outcome, str):
        return f"no onsets found, it is {outcome}" if rhythmic and outcome.startswith(SILENT) else outcome
    if not isinstance(task, TempoTask):
        return ""
    if no_onsets(outcome.frames):
        return NO_ONSETS
    try:
        check_duration(outcome.seconds)
    except UserError as error:
        return str(error)
    return ""


def notes_on(task: Task, track: DecodedTrack) -> list[str]:
    """What is said of a file that is predicted: damage, and a length at which its tempo is doubtful."""
    doubt = check_duration(track.seconds) if isinstance(task, TempoTask) else None
    return [*([doubt] if doubt else []), *track.notes]
