"""Worker processes of this machine, none of which outlives the process that started them."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from joblib import Parallel, delayed

Item, Result = TypeVar("Item"), TypeVar("Result")

LOOKING = 0.5  # seconds between two looks at the parent
REPLACED = "A worker stopped while some jobs were given to the executor"


def workers(jobs: int | None = None, **options: Any) -> Parallel:
    """Workers as joblib has them, by the backend that is in force; processes end soon after this one, however it ends.

    A worker that has grown is replaced after its task, and its work goes on in another: joblib's warning about that is
    left out. One that dies at work is an error, as ever.

    Args:
        jobs: most processes; -1 means one a core, None what `joblib.parallel_config` says.
        options: others of `joblib.Parallel`.

    Raises:
        ValueError: the backend cannot do what the options ask for.
    """
    warnings.filterwarnings("ignore", REPLACED, UserWarning)
    return Parallel(n_jobs=jobs, initializer=leave_with, initargs=(os.getpid(),), **options)


def mapped(function: Callable[[Item], Result], items: Sequence[Item], jobs: int, ahead: int) -> Iterator[Result]:
    """Results of a function in the order of its items, computed while the ones before are used.

    Args:
        function: called in the processes.
        items: what it is called with.
        jobs: most processes; below 2, this one calls it when a result is wanted.
        ahead: most results that are computed before they are wanted.
    """
    if jobs < 2:
        yield from map(function, items)
        return
    with workers(jobs, return_as="generator", batch_size=1) as parallel:
        for start in range(0, len(items), ahead):
            with closing(parallel(delayed(function)(item) for item in items[start : start + ahead])) as results:
                yield from results


def leave_with(main_process: int) -> None:
    """End this worker soon after its parent; a worker whose parent was killed would wait for work, often for ever.

    Called as a worker starts, before its first task: the parent may be gone even by then.

    Args:
        main_process: id of the process that started the workers; called in that process itself this does nothing.
    """
    if os.getpid() == main_process:
        return

    def watch() -> None:
        while os.getppid() == main_process:
            time.sleep(LOOKING)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="leave with the main process").start()
