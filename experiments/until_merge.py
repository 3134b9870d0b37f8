"""Stands in for what the base class of tasks will offer: to be deleted with its first merge."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments import tasks
from experiments.tasks import Task

from_metadata = tasks.rebuild


def metadata_of(task: Task) -> dict[str, Any]:
    """`task.metadata`."""
    return tasks.told(task)


def join(task: Task, predictions: np.ndarray, starts: np.ndarray, how: str) -> np.ndarray:
    """`task.join`."""
    joins = {
        "mean": lambda one: one.mean(axis=0),
        "max": lambda one: one.max(axis=0),
        "vote": lambda one: np.bincount(one.argmax(axis=1), minlength=one.shape[1]) / len(one),
    }
    return joins[how](predictions)
