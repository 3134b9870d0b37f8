"""Which process of a distributed launch this is, decided from the environment before anything starts.

Only global rank zero keeps a record. It hands its seed and the key of its run to the others through the environment,
before they are launched; they work in the same directory and leave nothing there but their trace when they fail.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.tracking import lifecycle
from experiments.tracking.run import RunHandle
from experiments.tracking.values import mask

GLOBAL_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "JSM_NAMESPACE_RANK")
NODE_RANKS = ("NODE_RANK", "GROUP_RANK")
LOCAL_RANK = "LOCAL_RANK"
RUN_VARIABLE = "OSTINATO_RUN"
SEED_VARIABLE = "OSTINATO_SEED"


def _number(environ: Mapping[str, str], name: str) -> int:
    """Value of a rank variable; 0 if absent or not a number."""
    text = environ.get(name, "").strip()
    return int(text) if text.isdecimal() else 0


def is_global_zero(environ: Mapping[str, str] | None = None) -> bool:
    """Whether this process is the one that keeps the record: every rank variable is absent or 0."""
    environ = os.environ if environ is None else environ
    return not any(_number(environ, name) for name in (*GLOBAL_RANKS, *NODE_RANKS, LOCAL_RANK))


def label(environ: Mapping[str, str] | None = None) -> str:
    """Name of this rank for file names: `3`, or `1.2` (node, local) where no global rank is known."""
    environ = os.environ if environ is None else environ
    for name in GLOBAL_RANKS:
        if _number(environ, name):
            return str(_number(environ, name))
    node = max(_number(environ, name) for name in NODE_RANKS)
    local = _number(environ, LOCAL_RANK)
    return f"{node}.{local}" if node else str(local)


def follow(command: Callable[[RunHandle], Any], runs_dir: str, seed: int) -> int:
    """Run `command` on a rank other than zero and return its exit code.

    Its directory is that of rank zero's run; where rank zero had no chance to tell (it was launched beside this one,
    not before), a temporary one.
    """
    from sacred.randomness import set_global_seed

    set_global_seed(seed)
    key = os.environ.get(RUN_VARIABLE)
    directory = Path(runs_dir).absolute() / key if key else Path(tempfile.mkdtemp(prefix="ostinato-rank-"))
    handle = RunHandle(directory, seed, is_global_zero=False)
    with lifecycle.signals():
        try:
            lifecycle.normalised(lambda: command(handle))
        except BaseException as error:
            text = mask(lifecycle.trace(error))
            print(f"rank {label()}:\n{text}", end="", file=sys.stderr, flush=True)
            if not isinstance(error, KeyboardInterrupt):
                with open(directory / f"rank{label()}.log", "a", encoding="utf-8") as file:
                    file.write(text)
            return lifecycle.exit_code(error)
    return lifecycle.SUCCESS


def traces(directory: Path) -> str:
    """What ranks other than zero left in a run's directory when they failed."""
    return "".join(
        f"{path.stem}:\n{path.read_text('utf-8', 'replace')}" for path in sorted(directory.glob("rank*.log"))
    )
