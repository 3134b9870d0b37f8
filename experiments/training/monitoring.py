"""The value of a validation that decides which epoch is best."""

from __future__ import annotations

from typing import Literal

from experiments.errors import UserError
from experiments.tasks.base import Task

LOSS, METRIC = "val/loss", "metric"


def monitored(setting: str | None, task: Task | None = None, annotated: bool = True) -> str:
    """`trainer.monitor` as it is logged.

    Args:
        setting: None is the loss, `metric` the one that the task is best chosen by, anything else a metric by its name.
        task: What is learned.
        annotated: Whether there are annotations. Metrics that only compare with a teacher's decisions leave most of
            what it says out, so that `metric` is the loss then.
    """
    if setting == METRIC and not annotated:
        return LOSS
    if setting == METRIC and task is not None:
        setting = task.monitor
    return LOSS if setting is None else f"val/{setting.removeprefix('val/')}"


def mode_of(monitor: str) -> Literal["min", "max"]:
    """Whether smaller or larger values are better: losses are to be small, metrics of a task large."""
    return "min" if monitor.rpartition("/")[2].startswith("loss") else "max"


def missing(monitor: str, logged: list[str]) -> UserError:
    """The error for a value that a validation does not give."""
    name = monitor.removeprefix("val/")
    given = sorted(one.removeprefix("val/") for one in logged if one.startswith("val/"))
    return UserError(
        f"trainer.monitor={name}: the validation gave no {name}, only {', '.join(given) or 'nothing'}; "
        "choose one of these, or None for the loss"
    )
