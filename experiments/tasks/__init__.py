"""What can be asked of a recording: one file a task, one row here.

`build("genre", classes=[...])` gives the task that pre-training, transfer and probing share, so that a target encoding,
a loss and a metric exist once. A new task is one file beside this one and one row in `TASKS`.
"""

from __future__ import annotations

from experiments.tasks.base import Task, unknown
from experiments.tasks.genre import Genre
from experiments.tasks.tagging import Tagging

TASKS: dict[str, type[Task]] = {
    "tagging": Tagging,
    "genre": Genre,
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
        **options: What the task's constructor takes, `classes` for tagging and genre.

    Raises:
        UserError: No task has this name; the message lists those that exist.
    """
    return find(name)(**options)


__all__ = ["TASKS", "Genre", "Tagging", "Task", "build", "find"]
