"""What can be asked of a recording: one file a task, one row here.

`build("genre", classes=[...])` gives the task that pre-training, transfer and probing share, so that a target encoding,
a loss and a metric exist once. A new task is one file beside this one and one row in `TASKS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets.corpus import LABELS
from experiments.errors import UserError
from experiments.tasks.base import Task, unknown
from experiments.tasks.emotion import Emotion
from experiments.tasks.genre import Genre
from experiments.tasks.key import Key
from experiments.tasks.tagging import Tagging
from experiments.tasks.tempo import Tempo, TempoRegression

TASKS: dict[str, type[Task]] = {
    "tagging": Tagging,
    "genre": Genre,
    "key": Key,
    "emotion": Emotion,
    "tempo": Tempo,
    "tempo_regression": TempoRegression,
}


def find(name: str) -> type[Task]:
    """Look a task up by name.

    Raises:
        UserError: No task has this name; the message lists those that exist.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def build(name: str, **options) -> Task:
    """Make a task by name.

    Args:
        name: A key of `TASKS`.
        **options: What the task's constructor takes: `classes` for tagging and genre, what `measured` gives for tasks
            about values, or the `options` of a task that was made before.

    Raises:
        UserError: No task has this name; the message lists those that exist.
    """
    return find(name)(**options)


def told(task: Task) -> dict[str, Any]:
    """What a file says of a task, for `rebuild`: `task`, `labels`, and `options` where labels are not all there is."""
    own = {} if "classes" in task.options else {"options": dict(task.options)}
    return {"task": task.name, "labels": list(task.classes), **own}


def rebuild(name: str, labels: Sequence[str], options: Mapping[str, Any] | None = None) -> Task:
    """Make the task of a file again.

    Args:
        name: A key of `TASKS`.
        labels: Names of its outputs.
        options: What the file says besides; None where labels are all there is.

    Raises:
        UserError: No task has this name, or it does not have these outputs.
    """
    if options is None and find(name).annotations[0] in LABELS:
        return build(name, classes=labels)
    try:
        task = build(name, **(options or {}))
    except UserError:
        raise
    except (TypeError, ValueError):
        raise UserError(
            f"{name}: the file says {options!r:.200} of this task, which cannot be; was it changed?"
        ) from None
    if len(task.classes) != len(labels):
        raise UserError(f"{name}: {len(labels)} outputs, expected {task.n_outputs}; was the file changed?")
    return task


__all__ = [
    "TASKS",
    "Emotion",
    "Genre",
    "Key",
    "Tagging",
    "Task",
    "Tempo",
    "TempoRegression",
    "build",
    "find",
    "rebuild",
    "told",
]
