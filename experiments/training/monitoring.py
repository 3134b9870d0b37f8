"""The value of a validation that decides which epoch is best."""

from __future__ import annotations

from typing import Literal

from experiments.errors import UserError

LOSS = "val/loss"


def monitored(setting: str | None) -> str:
    """`trainer.monitor` as it is logged: None is the loss, else a metric of the task by its name."""
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
