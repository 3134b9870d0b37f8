"""Every command is a run: its journal on disk, its record in MongoDB, its page in Omniboard.

Other rooms take from here the five names below. Each is imported when it is first asked for, so that a question about
settings does not wait for Lightning or the database's driver. A few of them need something from inside as well:
`masking` (`mask`, `for_terminal`) for what they print, `location` and `home` for commands that read other runs,
`journal.read` for their records, `artifacts` for files in the database, `liveness` for a training that is resumed, and
`logger` (`log_step`, `LogBeforeSaving`) for checkpoints between two points of a curve.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

# Sacred 0.8.7 imports it, which is why setuptools stays below 81.
warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)

if TYPE_CHECKING:
    from experiments.tracking.experiment import Experiment
    from experiments.tracking.logger import RunLogger
    from experiments.tracking.run import ChildRun, RunHandle
    from experiments.tracking.settings import TrackingSettings

__all__ = ["ChildRun", "Experiment", "RunHandle", "RunLogger", "TrackingSettings"]

_MODULES = {
    "ChildRun": "run",
    "Experiment": "experiment",
    "RunHandle": "run",
    "RunLogger": "logger",
    "TrackingSettings": "settings",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
