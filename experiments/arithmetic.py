"""The kernels and the memory that a command computes with: as the settings say, and as the run keeps it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from experiments.errors import UserError
from models.kernels.memory import keep_freed_memory
from models.kernels.mode import UnknownMode, enabled, using

if TYPE_CHECKING:
    from experiments.settings import PretrainSettings, ProbeExperimentSettings
    from experiments.tracking import RunHandle


@contextlib.contextmanager
def arithmetic(settings: PretrainSettings | ProbeExperimentSettings, run: RunHandle) -> Iterator[None]:
    """Compute as `inference.kernels` says; afterwards the run's information says which kernels that were.

    Args:
        settings: Of the command.
        run: Gets `kernels`: the `mode`, auto or torch, and what was `chosen` for each operation and size that was met.

    Raises:
        UserError: the variable of the environment that chooses kernels holds no mode.
    """
    try:
        enabled()
    except UnknownMode as error:
        raise UserError(str(error)) from None
    keep_freed_memory()
    with using(settings.inference.kernels):
        mode, began = "auto" if enabled() else "torch", time.time()
        try:
            yield
        finally:
            choices = sys.modules.get("models.kernels.choices")
            run.set_info(kernels={"mode": mode, "chosen": choices.used(began) if choices else {}})
