"""The tiny experiment, and what its runs leave behind."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.tracking import Experiment, RunHandle
from experiments.tracking.journal import read

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("ex_tiny.py")
OFF = "tracking.mongo=off"
PASSWORD, TOKEN = f"qz{7}vault", f"tok{3}nvalue"  # put together, so that the kept sources do not hold them
URL = f"mongodb://me:{PASSWORD}@127.0.0.1:1/db"

Run = Callable[..., Any]


def load() -> Any:
    spec = importlib.util.spec_from_file_location("ex_tiny", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tiny = load()


def one_run(folder: Path) -> Path:
    (directory,) = folder.glob("runs/2*")
    return directory


def start_of(directory: Path) -> dict[str, Any]:
    return next(record for record in read(directory) if record["kind"] == "start")


def made(function: Callable[[Any, RunHandle], Any], name: str = "ex_made") -> Experiment:
    """An experiment whose main command is `function`."""
    experiment = Experiment(name, tiny.Tiny, tiny.NAMED)
    function.__name__ = "main"
    experiment.main(function)
    return experiment
