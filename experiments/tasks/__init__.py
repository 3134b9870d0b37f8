"""Tasks, such as tagging or key: one file a task, one row here.

`build("genre", classes=[...])` gives the task that pre-training, transfer and probing share, so that a target encoding,
a loss and a metric exist once. A new task is one file beside this one and one row in `TASKS`; a task of the user's own
is any subclass of `Task`, named as `package.module:Class`.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from experiments import own_modules
from experiments.errors import UserError
from experiments.tasks.base import Task, unknown
from experiments.tasks.beats import BeatClasses, BeatTracking, WidenedBeatTracking
from experiments.tasks.emotion import Emotion
from experiments.tasks.genre import Genre
from experiments.tasks.key import Key
from experiments.tasks.tagging import Tagging
from experiments.tasks.tempo import Tempo, TempoAnyOctave, TempoRegression
from models.own_classes import import_class

TASKS: dict[str, type[Task]] = {
    "tagging": Tagging,
    "genre": Genre,
    "key": Key,
    "emotion": Emotion,
    "tempo": Tempo,
    "tempo_regression": TempoRegression,
    "tempo_any_octave": TempoAnyOctave,
    "beats": BeatTracking,
    "beats_widened": WidenedBeatTracking,
    "beats_classes": BeatClasses,
}


def find(name: str, typed: bool = True, allowed: Collection[str] = ()) -> type[Task]:
    """Look a task up by name; a class of the user's own is imported.

    Args:
        name: A key of `TASKS`, or `package.module:Class`.
        typed: Whether the user gave the name, so that its module may be imported, from now on for files too. A name
            that a file gives is only imported if the user named that module.
        allowed: Further modules that may be imported.

    Raises:
        UserError: No task has this name; the message lists those that exist. Or the class cannot be imported.
    """
    if name in TASKS:
        return TASKS[name]
    if ":" not in name:
        raise unknown("task", name, TASKS)
    if typed:
        own_modules.allow(name)
    try:
        return import_class(name, Task, own_modules.allowed().union(allowed), "datamodule.task")
    except ValueError as error:
        raise UserError(f"task {error}") from None


def build(name: str, **options: Any) -> Task:
    """Make a task that the user named.

    Args:
        name: As `find` takes it.
        **options: What the task's constructor takes: `classes` for tagging and genre, what `measured` gives for tasks
            about values, or the `options` of a task that was made before.

    Raises:
        UserError: As `find`.
    """
    return find(name)(**options)


def from_metadata(
    name: str,
    labels: Sequence[str] | None,
    options: Mapping[str, Any] | None = None,
    allowed: Collection[str] = (),
) -> Task:
    """Make the task that a file describes, see `Task.metadata`.

    Args:
        name: A key of `TASKS`, or `package.module:Class` of a module that the user named too.
        labels: Names of its outputs; None where the file does not give them.
        options: What its constructor took; None where labels are all there is.
        allowed: Modules that may be imported besides those that settings named.

    Raises:
        UserError: No task has this name, its module was not named, or it does not have these outputs.
    """
    kind = find(name, typed=False, allowed=allowed)
    if options is None and labels is not None and "classes" in inspect.signature(kind).parameters:
        options = {"classes": labels}
    try:
        task = kind(**(options or {}))
    except UserError:
        raise
    except (TypeError, ValueError):
        raise UserError(
            f"{name}: the file says {options!r:.200} of this task, which cannot be; was it changed?"
        ) from None
    if labels is not None and len(task.classes) != len(labels):
        raise UserError(f"{name}: {len(labels)} outputs, expected {task.n_outputs}; was the file changed?")
    return task


__all__ = [
    "TASKS",
    "BeatClasses",
    "BeatTracking",
    "Emotion",
    "Genre",
    "Key",
    "Tagging",
    "Task",
    "Tempo",
    "TempoAnyOctave",
    "TempoRegression",
    "WidenedBeatTracking",
    "build",
    "find",
    "from_metadata",
]
