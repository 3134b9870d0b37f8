"""The kernels and the memory that a command computes with: as the settings say, and as the run keeps it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from experiments.errors import UserError
from models.kernels.memory import keep_freed_memory
from models.kernels.mode import enabled, using

if TYPE_CHECKING:
    from experiments.settings import PretrainSettings, ProbeExperimentSettings
    from experiments.tracking import RunHandle


@contextlib.contextmanager
def arithmetic(settings: PretrainSettings | ProbeExperimentSettings, run: RunHandle) -> Iterator[None]:
    """Compute as `inference.kernels` says; afterwards the run's information says which kernels that were.

    Args:
        settings: Of the command.
        run: Gets `kernels`: those that are not PyTorch's own, by what they do.

    Raises:
        UserError: the variable of the environment that chooses kernels holds no choice.
    """
    try:
        enabled()
    except ValueError as error:
        raise UserError(str(error)) from None
    keep_freed_memory()
    with using(settings.inference.kernels):
        try:
            yield
        finally:
            if choices := sys.modules.get("models.kernels.choices"):
                run.set_info(kernels=choices.others())
