"""Worker processes of this machine, none of which outlives the process that started them."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from joblib import Parallel

LOOKING = 0.5  # seconds between two looks at the parent


def workers(jobs: int | None = None, **options: Any) -> Parallel:
    """Workers as joblib has them, by the backend that is in force; processes end soon after this one, however it ends.

    Args:
        jobs: most processes; -1 means one a core, None what `joblib.parallel_config` says.
        options: others of `joblib.Parallel`.

    Raises:
        ValueError: the backend cannot do what the options ask for.
    """
    return Parallel(n_jobs=jobs, initializer=leave_with, initargs=(os.getpid(),), **options)


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
